"""Series of numbers over time as one SVG picture: panels below each other, one axis of time."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, PANEL_HEIGHT, GAP = 860, 120, 44
LEFT, RIGHT, TOP = 70, 20, 34
COLOURS = ("#2f6fb3", "#c2571a", "#3c8d40")
# Legible on a light page and on a dark one.
INK, GRID = "#777777", "#99999944"


@dataclass(frozen=True, slots=True)
class Panel:
    """What is drawn in one frame: named series over the same times, and a bound if there is one."""

    title: str
    series: tuple[tuple[str, Sequence[float]], ...]
    bound: float | None = None

    def highest(self) -> float:
        numbers = [number for _, row in self.series for number in row]
        return max(*numbers, self.bound or 0.0, 1e-9)


def draw(title: str, at_s: Sequence[float], panels: Sequence[Panel]) -> str:
    """The picture; every series has one number for each time, which rise."""
    height = TOP + len(panels) * (PANEL_HEIGHT + GAP)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12" fill="{INK}">',
        text(LEFT, 18, title, size=14),
    ]
    for number, panel in enumerate(panels):
        lines += panel_lines(panel, at_s, TOP + GAP // 2 + number * (PANEL_HEIGHT + GAP))
    return "\n".join((*lines, "</svg>")) + "\n"


def panel_lines(panel: Panel, at_s: Sequence[float], top: int) -> list[str]:
    highest, last_s = panel.highest(), at_s[-1] or 1.0
    bottom = top + PANEL_HEIGHT

    def across(second: float) -> float:
        return LEFT + second / last_s * (WIDTH - LEFT - RIGHT)

    def down(number: float) -> float:
        return bottom - number / highest * PANEL_HEIGHT

    lines = [
        text(LEFT, top - 6, panel.title),
        *(rule(down(highest * part), f"{highest * part:,.4g}") for part in (0, 0.5, 1)),
        *(
            text(across(last_s * part), bottom + 14, f"{last_s * part / 60:.3g} min", "middle")
            for part in (0, 0.25, 0.5, 0.75, 1)
        ),
    ]
    if panel.bound is not None:
        lines.append(rule(down(panel.bound), "", f' stroke="{COLOURS[1]}" stroke-dasharray="5 4"'))
    for number, (name, row) in enumerate(panel.series):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(
            f"{across(second):.1f},{down(value):.1f}"
            for second, value in zip(at_s, row, strict=True)
        )
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
        lines.append(text(WIDTH - RIGHT - 130 * number, top - 6, name, "end", colour))
    return lines


def rule(at: float, label: str, stroke: str = f' stroke="{GRID}"') -> str:
    line = f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"{stroke}/>'
    return line + (text(LEFT - 6, at + 4, label, "end") if label else "")


def text(
    across: float, down: float, words: str, anchor: str = "start", colour: str = INK, size: int = 12
) -> str:
    return (
        f'<text x="{across:.1f}" y="{down:.1f}" text-anchor="{anchor}" fill="{colour}" '
        f'font-size="{size}">{escape(words)}</text>'
    )
