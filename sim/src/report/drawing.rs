//! Pieces of a picture as SVG: bars, labels, marks. Every text from a trace is escaped here.

use std::fmt::Write as _;

/// Text that may hold anything, as HTML and SVG take it.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // A plan has lines.
            '\n' => out.push('\n'),
            control if control.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

/// A time in virtual seconds.
#[expect(clippy::cast_precision_loss, reason = "a run lasts minutes")]
pub fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// A picture that grows downwards, row by row, over a common axis of time.
pub struct Drawing {
    body: String,
    /// Where the next row begins, in pixels.
    y: u32,
    /// Pixels per virtual second.
    scale: f64,
    end: u64,
}

/// Pixels left of the axis of time, for names.
const MARGIN: f64 = 150.0;

impl Drawing {
    pub fn new(end: u64, width: f64) -> Self {
        let scale = width / seconds(end.max(1)).max(0.001);
        Self { body: String::new(), y: 24, scale, end }
    }

    fn x(&self, at: u64) -> f64 {
        MARGIN + seconds(at) * self.scale
    }

    /// A row of this height with a name; answers where it begins.
    pub fn row(&mut self, class: &str, name: &str, height: u32) -> u32 {
        let y = self.y;
        self.y += height + 3;
        let middle = f64::from(y) + f64::from(height) / 2.0 + 4.0;
        let name = escaped(name);
        let _ =
            write!(self.body, "<text class=\"{class}\" data-lane=\"{name}\" x=\"4\" y=\"{middle:.0}\">{name}</text>");
        y
    }

    /// A heading between rows.
    pub fn heading(&mut self, text: &str) {
        self.y += 8;
        let _ = write!(self.body, "<text class=\"heading\" x=\"4\" y=\"{}\">{}</text>", self.y + 12, escaped(text));
        self.y += 20;
    }

    /// A bar in a row, told of by its tooltip.
    pub fn bar(&mut self, y: u32, height: u32, from: u64, to: u64, class: &str, tip: &str) {
        let (x, width) = (self.x(from), (seconds(to.saturating_sub(from)) * self.scale).max(1.0));
        let _ = write!(
            self.body,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{height}\"><title>{}</title></rect>",
            escaped(tip)
        );
    }

    /// A few characters in a bar, if it is wide enough for them.
    pub fn label(&mut self, y: u32, from: u64, to: u64, text: &str) {
        if seconds(to.saturating_sub(from)) * self.scale > 7.0 * text.len() as f64 {
            let x = self.x(from) + 2.0;
            let _ = write!(self.body, "<text class=\"label\" x=\"{x:.1}\" y=\"{}\">{}</text>", y + 9, escaped(text));
        }
    }

    /// A mark at a moment of a row.
    pub fn mark(&mut self, y: u32, at: u64, class: &str, sign: &str, tip: &str) {
        let x = self.x(at);
        let _ = write!(
            self.body,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{}\">{}<title>{}</title></text>",
            y + 12,
            escaped(sign),
            escaped(tip)
        );
    }

    /// A line from top to bottom at a moment.
    pub fn across(&mut self, at: u64, class: &str) {
        let x = self.x(at);
        let _ = write!(self.body, "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"16\" y2=\"{}\"/>", self.y);
    }

    /// The whole picture, with its axis.
    pub fn finish(mut self) -> String {
        let step = [1, 2, 5, 10, 20, 50, 100, 200].into_iter().find(|step| f64::from(*step) * self.scale >= 60.0);
        let step = u64::from(step.unwrap_or(500_u32)) * 1_000_000;
        let mut axis = String::new();
        let mut at = 0;
        while at <= self.end {
            let (x, y) = (self.x(at), self.y);
            let _ = write!(
                axis,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"16\" y2=\"{y}\"/><text class=\"tick\" x=\"{x:.1}\" y=\"12\">{} s</text>",
                at / 1_000_000
            );
            at += step;
        }
        let (width, height) = (self.x(self.end) + 60.0, self.y + 10);
        let body = std::mem::take(&mut self.body);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height}\" viewBox=\"0 0 {width:.0} {height}\">{axis}{body}</svg>"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_a_trace_can_be_markup() {
        assert_eq!(escaped("<b a=\"1\">&'\u{7}"), "&lt;b a=&quot;1&quot;&gt;&amp;&#39; ");
        let mut drawing = Drawing::new(10, 100.0);
        let y = drawing.row("node", "<x>", 10);
        drawing.bar(y, 10, 0, 5, "up", "</title><script>");
        let svg = drawing.finish();
        assert!(!svg.contains("<x>") && !svg.contains("<script>"), "{svg}");
    }

    #[test]
    fn a_run_of_no_length_is_drawn() {
        assert!(Drawing::new(0, 100.0).finish().starts_with("<svg"));
    }
}
