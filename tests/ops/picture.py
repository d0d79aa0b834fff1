"""Pictures for READMEs, as SVG: a terminal as it was, and a dashboard's panels as Prometheus answered."""
from xml.sax.saxutils import escape

COLOURS = ("#73bf69", "#f2cc0c", "#5794f2", "#ff780a", "#b877d9", "#f2495c", "#8ab8ff", "#96d98d")
SIGNS = {"bytes": "B", "Bps": "B/s", "ops": "/s", "percentunit": "%", "short": ""}


def figure(number, unit):
    if unit == "percentunit":
        return f"{number * 100:.3g} %"
    for sign, size in (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)) if unit in ("bytes", "Bps") else \
            (("M", 10 ** 6), ("k", 10 ** 3)):
        if number >= size:
            return f"{number / size:.3g} {sign}{SIGNS[unit]}"
    return f"{number:.3g} {SIGNS[unit]}".strip()


def text(x, y, words, size=11, colour="#ccccdc", anchor="start"):
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}" text-anchor="{anchor}">{escape(words)}</text>'


def terminal(lines, title):
    """A window with these lines, in the terminal's own letters."""
    columns = max(len(line) for line in lines)
    width, height = columns * 7.3 + 24, len(lines) * 16 + 46
    parts = [f'<rect width="{width:g}" height="{height}" rx="8" fill="#16181d"/>', text(width / 2, 19, title, 12, "#9aa0aa", "middle")]
    parts += [f'<circle cx="{16 + 18 * i}" cy="15" r="5" fill="{c}"/>' for i, c in enumerate(("#ff5f57", "#febc2e", "#28c840"))]
    for i, line in enumerate(lines):
        parts.append(f'<text x="12" y="{46 + 16 * i}" font-size="12" fill="#d7dae0" xml:space="preserve" '
                     f'textLength="{max(len(line), 1) * 7.3:g}">{escape(line)}</text>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height}" font-family="monospace">\n' +
            "\n".join(parts) + "\n</svg>\n")


class Panel:
    UNIT, GAP = 50, 6

    def __init__(self, panel):
        grid = panel["gridPos"]
        self.x, self.y = grid["x"] * self.UNIT + self.GAP, grid["y"] * 34 + self.GAP
        self.w, self.h = grid["w"] * self.UNIT - self.GAP, grid["h"] * 34 - self.GAP
        self.unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit", "short")
        self.parts = [f'<rect x="{self.x}" y="{self.y}" width="{self.w}" height="{self.h}" rx="3" fill="#181b1f" stroke="#2c3038"/>',
                      text(self.x + 10, self.y + 19, panel["title"], 13)]

    def stat(self, number):
        self.parts.append(text(self.x + self.w / 2, self.y + self.h / 2 + 24, figure(number, self.unit), 38, "#73bf69", "middle"))

    def series(self, curves):
        """[(name, [(time, value)])]"""
        legend = 15 * ((len(curves) + 1) // 2) if len(curves) > 3 else 15
        left, right, top, bottom = self.x + 74, self.x + self.w - 12, self.y + 32, self.y + self.h - 14 - legend
        times = [t for _, points in curves for t, _ in points]
        first, last = min(times), max(max(times), min(times) + 1)
        most = max([v for _, points in curves for _, v in points] + [1e-9]) * 1.1
        for i in range(4):
            y = bottom - (bottom - top) * i / 3
            self.parts += [f'<line x1="{left:g}" x2="{right:g}" y1="{y:g}" y2="{y:g}" stroke="#2c3038"/>',
                           text(left - 6, y + 4, figure(most * i / 3, self.unit), 10, "#8e939e", "end")]
        for i, (name, points) in enumerate(curves):
            line = " ".join(f"{left + (right - left) * (t - first) / (last - first):.1f},"
                            f"{bottom - (bottom - top) * v / most:.1f}" for t, v in points)
            colour = COLOURS[i % len(COLOURS)]
            self.parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
            rows = 2 if len(curves) > 3 else len(curves)
            x = self.x + 14 + (i % rows) * (self.w - 20) / rows
            y = bottom + 20 + 14 * (i // rows)
            self.parts += [f'<rect x="{x:g}" y="{y - 7:g}" width="12" height="4" fill="{colour}"/>', text(x + 17, y, name, 10)]


def dashboard(panels):
    width = 24 * Panel.UNIT + Panel.GAP
    height = max(p.y + p.h for p in panels) + Panel.GAP
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">\n'
            f'<rect width="{width}" height="{height}" fill="#111217"/>\n' + "\n".join(part for p in panels for part in p.parts) +
            "\n</svg>\n")
