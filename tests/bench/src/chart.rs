//! Curves as a picture: both axes by powers of ten, so that what is linear is a straight line of that slope.

use std::path::Path;

use plotters::prelude::*;

/// One curve.
pub(crate) struct Series {
    name: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Series {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            points: Vec::new(),
        }
    }
}

/// What the picture is called.
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) x: &'static str,
}

const COLORS: [RGBColor; 5] = [
    RGBColor(0, 90, 156),
    RGBColor(200, 80, 0),
    RGBColor(0, 130, 80),
    RGBColor(150, 30, 110),
    RGBColor(90, 90, 90),
];

impl Chart {
    /// Writes the picture as an SVG file.
    pub(crate) fn write(&self, path: &Path, series: &[Series]) {
        std::fs::write(path, self.draw(series)).unwrap();
        eprintln!("  drew {}", path.display());
    }

    fn draw(&self, series: &[Series]) -> String {
        let mut text = String::new();
        let all: Vec<(f64, f64)> = series.iter().flat_map(|one| one.points.clone()).collect();
        let least = |pick: fn(&(f64, f64)) -> f64| all.iter().map(pick).fold(f64::MAX, f64::min);
        let most = |pick: fn(&(f64, f64)) -> f64| all.iter().map(pick).fold(0.0, f64::max);
        let top = 10_f64.powf(most(|point| point.1).log10().ceil());
        let bottom = 10_f64.powf(least(|point| point.1).max(0.1).log10().floor());
        {
            let root = SVGBackend::with_string(&mut text, (860, 520)).into_drawing_area();
            root.fill(&WHITE).unwrap();
            let mut chart = ChartBuilder::on(&root)
                .caption(self.title, ("sans-serif", 20))
                .margin(12)
                .x_label_area_size(42)
                .y_label_area_size(64)
                .build_cartesian_2d(
                    (least(|point| point.0)..most(|point| point.0) * 1.05).log_scale(),
                    (bottom..top).log_scale(),
                )
                .unwrap();
            chart
                .configure_mesh()
                .x_desc(self.x)
                .y_desc("ms, MiB")
                .light_line_style(WHITE)
                .draw()
                .unwrap();
            for (one, color) in series.iter().zip(COLORS) {
                let points: Vec<(f64, f64)> = one
                    .points
                    .iter()
                    .map(|(x, y)| (*x, y.max(bottom)))
                    .collect();
                chart
                    .draw_series(
                        LineSeries::new(points.clone(), color.stroke_width(2)).point_size(3),
                    )
                    .unwrap()
                    .label(one.name)
                    .legend(move |(x, y)| {
                        PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2))
                    });
            }
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .background_style(WHITE.mix(0.85))
                .border_style(BLACK.mix(0.3))
                .draw()
                .unwrap();
            root.present().unwrap();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_curve_is_in_the_picture() {
        let mut series = Series::new("cold");
        series.points = vec![(10.0, 3.0), (100.0, 0.0), (1000.0, 300.0)];
        let text = Chart {
            title: "Cost",
            x: "regions",
        }
        .draw(&[series]);
        assert!(text.contains("<polyline") && text.contains("cold") && text.contains("Cost"));
    }
}
