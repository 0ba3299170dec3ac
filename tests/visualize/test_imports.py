import subprocess
import sys


def test_drawing_loads_no_framework_and_no_pyplot():
    code = "import sys, visualize; print(*(name for name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "visualize" in loaded
    assert not {"torch", "transformers", "peft", "gradio", "modal", "matplotlib.pyplot"} & set(loaded)


def test_every_public_name_is_there():
    import visualize

    assert len(visualize.__all__) == len(set(visualize.__all__))
    assert all(hasattr(visualize, name) for name in visualize.__all__)
