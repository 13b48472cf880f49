"""A small SVG of time and memory over the number of samples."""

import math
from collections.abc import Sequence
from typing import Final

WIDTH: Final = 720
HEIGHT: Final = 300
MARGIN: Final = 56


def scale_plot(points: Sequence[tuple[int, float, float]]) -> str:
    """Two panels, (samples, seconds) and (samples, MB); the axes of the first are logarithmic.

    A dashed line shows exact proportion to the largest size.
    """
    sizes = [float(size) for size, _, _ in points]
    panel = WIDTH // 2
    times = [math.log10(seconds) for _, seconds, _ in points]
    logs = [math.log10(size) for size in sizes]
    proportional = [times[-1] + log - logs[-1] for log in logs]
    low, high = math.floor(min(times + proportional)), math.ceil(max(times))
    decades = [(float(power), f"{10.0**power:g}") for power in range(low, high + 1)]
    columns = [(log, f"{int(size) // 1000}k") for log, size in zip(logs, sizes, strict=True)]
    memory = [megabytes for _, _, megabytes in points]
    top = 50.0 * math.ceil(max(memory) / 50)
    steps = [(top * part / 4, f"{top * part / 4:.0f}") for part in range(5)]
    body = [
        *_panel(0, panel, "seconds", logs, columns, decades, [(times, ""), (proportional, "4 4")]),
        *_panel(panel, panel, "peak RSS, MB", logs, columns, steps, [(memory, "")]),
    ]
    style = "font-family='sans-serif' font-size='11' fill='#333'"
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' {style}>"
    return "\n".join([head, f"<rect width='{WIDTH}' height='{HEIGHT}' fill='#fff'/>", *body, "</svg>", ""])


def _panel(
    left: int,
    width: int,
    title: str,
    xs: Sequence[float],
    columns: Sequence[tuple[float, str]],
    rows: Sequence[tuple[float, str]],
    lines: Sequence[tuple[Sequence[float], str]],
) -> list[str]:
    x0, x1 = left + MARGIN, left + width - MARGIN // 2
    y0, y1 = HEIGHT - MARGIN, MARGIN

    def x(value: float) -> float:
        return x0 + (value - xs[0]) / (xs[-1] - xs[0]) * (x1 - x0)

    def y(value: float) -> float:
        return y0 + (value - rows[0][0]) / (rows[-1][0] - rows[0][0]) * (y1 - y0)

    drawn = [f"<text x='{x0}' y='{MARGIN - 20}' font-weight='bold'>{title}</text>"]
    for value, name in rows:
        drawn.append(f"<path d='M{x0} {y(value):.1f}H{x1}' stroke='#ddd'/>")
        drawn.append(f"<text x='{x0 - 6}' y='{y(value) + 4:.1f}' text-anchor='end'>{name}</text>")
    for value, name in columns:
        drawn.append(f"<text x='{x(value):.1f}' y='{y0 + 18}' text-anchor='middle'>{name}</text>")
    drawn.append(f"<text x='{(x0 + x1) / 2:.0f}' y='{y0 + 36}' text-anchor='middle'>samples</text>")
    for ys, dashes in lines:
        path = "L".join(f"{x(a):.1f} {y(b):.1f}" for a, b in zip(xs, ys, strict=True))
        drawn.append(
            f"<path d='M{path}' fill='none' stroke='#1f6fb2' stroke-width='2' stroke-dasharray='{dashes}'/>"
        )
    return drawn
