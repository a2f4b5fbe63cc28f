"""The plot of `bench.growth`: a document that any browser reads, with every measurement in it."""

from xml.etree import ElementTree

from bench.growth import format_growth
from bench.growth_figures import Cost, Growth
from bench.growth_plot import draw
from bench.spread import Spread

SVG = "{http://www.w3.org/2000/svg}"


def measured(connected: int, cost: float) -> Growth:
    onboarding = Cost(Spread.of([cost, cost * 1.1]), Spread.of([cost / 2]))
    return Growth(connected, onboarding, Cost(Spread.of([cost / 100]), Spread.of([cost / 90])), 80, 90)


def test_every_measurement_is_a_point_inside_the_picture() -> None:
    sizes = [measured(100, 4_000), measured(1_000, 4_200), measured(10_000, 3_900)]
    picture = ElementTree.fromstring(draw(sizes))
    points = picture.findall(f"{SVG}circle")
    assert len(points) == len(sizes) * 2 * 2
    assert len(picture.findall(f"{SVG}polyline")) == 4
    _, _, width, height = (float(each) for each in picture.attrib["viewBox"].split())
    for point in points:
        assert 0 < float(point.attrib["cx"]) < width
        assert 0 < float(point.attrib["cy"]) < height


def test_one_size_alone_can_be_drawn() -> None:
    assert len(ElementTree.fromstring(draw([measured(100, 4_000)])).findall(f"{SVG}circle")) == 4


def test_table_has_a_row_for_each_size_with_the_ratio() -> None:
    lines = format_growth([measured(100, 4_000), measured(19_000, 4_000)]).splitlines()
    assert len(lines) == 4
    assert "| 19,000 |" in lines[-1]
    assert "| 0.48 |" in lines[-1]
