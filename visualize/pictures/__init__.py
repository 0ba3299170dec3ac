"""From numbers to pixels: resizing, colours, marks, bars, panes, the sheet and the film; it decides no number."""
