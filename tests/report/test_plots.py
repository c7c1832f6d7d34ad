import pytest

from lavis_tldr.report.plots import bars, draw_curve, new_figure, save_png, tick_at


def drawn():
    figure = new_figure(4, 3)
    axes = figure.add_subplot()
    draw_curve(axes, [0.1, 0.5], [2.0, 3.0], [0.5, None], "ours")
    axes.set_xscale("log")
    tick_at(axes, [0.1, 0.5])
    return figure


def test_a_curve_has_error_bars_where_the_error_is_known():
    (axes,) = drawn().axes
    (curve,) = axes.containers
    line, _, (ends,) = curve.lines
    assert line.get_xydata().tolist() == [[0.1, 2.0], [0.5, 3.0]]
    assert [segment.tolist() for segment in ends.get_segments()] == [[[0.1, 1.5], [0.1, 2.5]], [[0.5, 3.0], [0.5, 3.0]]]
    assert curve.get_label() == "ours"
    assert bars([0.5, None]) == [0.5, 0.0]


def test_only_the_given_values_are_ticks():
    (axes,) = drawn().axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0.1", "0.5"]
    assert len(axes.get_xticks(minor=True)) == 0


def test_the_same_plot_is_the_same_file(tmp_path):
    for name in ("one.png", "two.png"):
        save_png(drawn(), tmp_path / name)
    content = (tmp_path / "one.png").read_bytes()
    assert content.startswith(b"\x89PNG") and content == (tmp_path / "two.png").read_bytes()
    assert b"Software" not in content  # the version of matplotlib


def test_a_plot_that_fails_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "plot.png"
    path.write_bytes(b"before")
    figure = drawn()
    figure.axes[0].set_title("$\\nosuchcommand{$")
    with pytest.raises(ValueError):
        save_png(figure, path)
    assert path.read_bytes() == b"before" and [found.name for found in tmp_path.iterdir()] == ["plot.png"]
