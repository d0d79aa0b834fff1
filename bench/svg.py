"""Two plain plots as SVG: grouped bars and lines, both with a logarithmic value axis."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 860, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 40, 70
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#777777")


class Drawing:
    def __init__(self, title, low, high, unit):
        self.parts, self.unit = [], unit
        self.low = math.floor(math.log10(low))
        self.high = max(math.ceil(math.log10(high)), self.low + 1)
        self.text(WIDTH / 2, 22, title, "middle", 15)
        for power in range(self.low, self.high + 1):
            y = self.y(10.0 ** power)
            self.parts.append('<line x1="%g" x2="%g" y1="%g" y2="%g" stroke="#ddd"/>'
                              % (LEFT, WIDTH - RIGHT, y, y))
            self.text(LEFT - 6, y + 4, "%g %s" % (10.0 ** power, unit), "end")

    def y(self, value):
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)

    def text(self, x, y, words, anchor="start", size=11):
        self.parts.append('<text x="%g" y="%g" text-anchor="%s" font-size="%d">%s</text>'
                          % (x, y, anchor, size, escape(words)))

    def key(self, names):
        for i, name in enumerate(names):
            y = TOP + 18 * i
            self.parts.append('<rect x="%g" y="%g" width="11" height="11" fill="%s"/>'
                              % (WIDTH - RIGHT + 14, y, COLOURS[i % len(COLOURS)]))
            self.text(WIDTH - RIGHT + 30, y + 10, name)

    def done(self):
        return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" '
                'font-family="sans-serif">\n<rect width="100%%" height="100%%" fill="white"/>\n%s\n'
                "</svg>\n" % (WIDTH, HEIGHT, "\n".join(self.parts)))


def extent(numbers):
    numbers = [n for n in numbers if n is not None and n > 0]
    return (min(numbers), max(numbers)) if numbers else None


def bars(title, unit, groups, names, values):
    """values[name][group] or None; '' when there is nothing to draw."""
    span = extent(values[n].get(g) for n in names for g in groups)
    if span is None:
        return ""
    d = Drawing(title, span[0], span[1], unit)
    room = (WIDTH - LEFT - RIGHT) / len(groups)
    width = room * 0.8 / len(names)
    for g, group in enumerate(groups):
        for i, name in enumerate(names):
            value = values[name].get(group)
            if value is None or value <= 0:
                continue
            x, y = LEFT + room * (g + 0.1) + width * i, d.y(value)
            d.parts.append('<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"><title>'
                           "%s, %s: %.4g %s</title></rect>"
                           % (x, y, width * 0.92, HEIGHT - BOTTOM - y, COLOURS[i % len(COLOURS)],
                              escape(group), escape(name), value, unit))
        d.text(LEFT + room * (g + 0.5), HEIGHT - BOTTOM + 18, group, "middle")
    d.key(names)
    return d.done()


def lines(title, unit, places, names, values):
    """As bars(), each name a line over the places in their order."""
    span = extent(values[n].get(p) for n in names for p in places)
    if span is None or len(places) < 2:
        return ""
    d = Drawing(title, span[0], span[1], unit)
    step = (WIDTH - LEFT - RIGHT) / (len(places) - 1)
    for i, place in enumerate(places):
        d.text(LEFT + step * i, HEIGHT - BOTTOM + 18, place, "middle")
    for i, name in enumerate(names):
        points = [(LEFT + step * k, d.y(values[name][p])) for k, p in enumerate(places)
                  if values[name].get(p)]
        colour = COLOURS[i % len(COLOURS)]
        d.parts.append('<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>'
                       % (colour, " ".join("%.1f,%.1f" % p for p in points)))
        d.parts += ['<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>' % (*p, colour) for p in points]
    d.key(names)
    return d.done()
