//! Figures by dataset or by threshold, drawn as lines.

use std::fmt::Write as _;

use askama::Template;

use crate::workload::Curve;

/// The drawing's size in its own units; values are drawn between the margins.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 28.0;
/// Lines that have a colour of their own.
const COLOURS: usize = 3;
/// Values that a page marks with a point each: beyond, the points would hide the line.
const POINTS_MAX: usize = 200;

/// A line of the drawing.
struct Line {
    name: String,
    colour: usize,
    /// The corners, as SVG writes them.
    corners: String,
    points: Vec<Point>,
}

/// One value, shown where the pointer is on it.
struct Point {
    x: f64,
    y: f64,
    title: String,
}

/// A value on the axis, or a point's name below it.
struct Label {
    at: f64,
    text: String,
}

/// One drawing: its title, lines and axes.
#[derive(Template)]
#[template(path = "curve.html")]
struct Drawing<'a> {
    title: &'a str,
    lines: Vec<Line>,
    values: Vec<Label>,
    names: Vec<Label>,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    foot: f64,
}

/// Parts of a page, one a curve. A curve of fewer than two points says nothing that the figures do not.
pub fn curves(curves: &[Curve]) -> Vec<String> {
    let drawn = curves.iter().filter(|curve| curve.points.len() > 1).map(|curve| drawing(curve).render());
    drawn.map(Result::unwrap_or_default).collect()
}

fn drawing(curve: &Curve) -> Drawing<'_> {
    let values = curve.lines.iter().flat_map(|(_, values)| values).flatten().copied();
    let (lowest, highest) = values
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    // Equal values lie in the middle.
    let margin = if highest > lowest { 0.0 } else { 0.5 };
    let (low, high) = (lowest - margin, highest + margin);
    let y = |value: f64| TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low);
    let last = curve.points.len().saturating_sub(1);
    let x = |at: usize| LEFT + (WIDTH - LEFT - RIGHT) * at as f64 / last.max(1) as f64;
    let line = |(number, (name, values)): (usize, &(String, Vec<Option<f64>>))| {
        let known = values.iter().enumerate().filter_map(|(at, value)| Some((at, (*value)?)));
        let mut corners = String::new();
        let mut points = Vec::new();
        for (at, value) in known {
            // Writing to a string cannot fail.
            let _ = write!(corners, "{:.1},{:.1} ", x(at), y(value));
            if values.len() <= POINTS_MAX {
                let point = curve.points.get(at).map_or("", String::as_str);
                points.push(Point { x: x(at), y: y(value), title: format!("{point}: {name} {value:.4}") });
            }
        }
        Line { name: name.clone(), colour: number % COLOURS, corners: corners.trim_end().to_owned(), points }
    };
    let steps = [low, low + (high - low) / 2.0, high];
    let ends = if last == 0 { vec![0] } else { vec![0, last] };
    Drawing {
        title: &curve.title,
        lines: curve.lines.iter().enumerate().map(line).collect(),
        values: steps.map(|value| Label { at: y(value), text: format!("{value:.4}") }).into(),
        names: ends.into_iter().map(|at| Label { at: x(at), text: curve.points[at].clone() }).collect(),
        width: WIDTH,
        height: HEIGHT,
        left: LEFT,
        right: WIDTH - RIGHT,
        foot: HEIGHT - 8.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(values: &[Option<f64>]) -> Curve {
        Curve {
            title: "AUC".to_owned(),
            points: (1..=values.len()).map(|day| format!("day {day}")).collect(),
            lines: vec![("auc".to_owned(), values.to_vec())],
        }
    }

    #[test]
    fn the_highest_value_is_at_the_top_and_gaps_are_left_out() {
        let curve = curve(&[Some(0.5), None, Some(0.9)]);
        let drawing = drawing(&curve);
        let [line] = &drawing.lines[..] else { panic!("one line") };
        assert_eq!(line.corners, "64.0,192.0 984.0,12.0");
        assert_eq!(line.points[1].title, "day 3: auc 0.9000");
        assert_eq!(
            drawing.values.iter().map(|label| label.text.as_str()).collect::<Vec<_>>(),
            ["0.5000", "0.7000", "0.9000"]
        );
    }

    #[test]
    fn equal_values_and_a_single_point_divide_by_nothing() {
        let flat = curve(&[Some(0.5), Some(0.5)]);
        assert_eq!(drawing(&flat).lines[0].corners, "64.0,102.0 984.0,102.0");
        assert!(curves(&[curve(&[Some(0.5)])]).is_empty());
    }
}
