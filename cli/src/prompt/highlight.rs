//! Colours of what is typed.

use highwater_sql::outline::{FragmentKind, fragments};
use nu_ansi_term::{Color, Style};
use reedline::{Highlighter, StyledText};

/// Colours statements by their fragments, commands as a whole.
pub(super) struct StatementHighlighter {
    pub(super) has_colour: bool,
}

impl Highlighter for StatementHighlighter {
    fn highlight(&self, line: &str, _: usize) -> StyledText {
        let mut styled = StyledText::new();
        if !self.has_colour || line.is_empty() {
            styled.push((Style::new(), line.to_owned()));
            return styled;
        }
        if line.trim_start().starts_with('\\') {
            styled.push((Style::new().fg(Color::Cyan), line.to_owned()));
            return styled;
        }
        let mut done = 0;
        let mut push = |from: usize, to: usize, style: Style| {
            if let Some(text) = line.get(from..to).filter(|text| !text.is_empty()) {
                styled.push((style, text.to_owned()));
            }
        };
        for fragment in fragments(line) {
            push(done, fragment.start, Style::new());
            push(fragment.start, fragment.end, style(fragment.kind));
            done = fragment.end;
        }
        push(done, line.len(), Style::new());
        styled
    }
}

fn style(kind: FragmentKind) -> Style {
    match kind {
        FragmentKind::Keyword => Style::new().bold().fg(Color::Blue),
        FragmentKind::Text | FragmentKind::QuotedName => Style::new().fg(Color::Green),
        FragmentKind::Number | FragmentKind::Parameter => Style::new().fg(Color::Magenta),
        FragmentKind::Comment => Style::new().dimmed(),
        FragmentKind::Unclosed => Style::new().fg(Color::Yellow),
        FragmentKind::Name
        | FragmentKind::Semicolon
        | FragmentKind::Opening
        | FragmentKind::Closing
        | FragmentKind::Symbol => Style::new(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn highlighting_keeps_the_text() {
        for line in ["", "SELECT 'a', \"é\" -- c", "SELECT 'open", "\\d t", "  select 1 ;  ", "日本 /* x", "$", "'"]
        {
            for has_colour in [false, true] {
                let styled = StatementHighlighter { has_colour }.highlight(line, 0);
                let text: String = styled.buffer.iter().map(|(_, text)| text.as_str()).collect();
                assert_eq!(text, line);
            }
        }
    }

    #[test]
    fn keywords_texts_and_comments_look_different() {
        let styled = StatementHighlighter { has_colour: true }.highlight("SELECT 'a' -- c", 0);
        let of = |wanted: &str| styled.buffer.iter().find(|(_, text)| text == wanted).unwrap().0;
        assert!(of("SELECT").is_bold && of("-- c").is_dimmed);
        assert_ne!(of("'a'").foreground, of("SELECT").foreground);
    }
}
