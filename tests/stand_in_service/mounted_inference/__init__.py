WHERE = "mounted"
