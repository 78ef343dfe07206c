//! docs/runbooks.md as a page.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use maud::{PreEscaped, html};
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html::push_html};

use super::StatusSettings;
use super::page::frame;

const MARKDOWN: &str = include_str!("../../../docs/runbooks.md");

static HTML: LazyLock<String> = LazyLock::new(|| to_html(MARKDOWN));

/// The page.
pub fn render(settings: &StatusSettings, now: DateTime<Utc>) -> String {
    let heading = html! { h1 { "Runbooks" } };
    let body = html! { article id="keys" { (PreEscaped(&*HTML)) } };
    frame(settings, now, &html! { "Runbooks" }, &heading, &body, "runbooks")
}

/// The text without its title. Headings get ids for links to them. Links to other files become
/// plain text, because those files are not served.
fn to_html(markdown: &str) -> String {
    let mut events: Vec<Event> = Parser::new_ext(markdown, Options::ENABLE_TABLES).collect();
    let end = events.iter().position(|event| matches!(event, Event::End(TagEnd::Heading(_))));
    events.drain(..=end.expect("the text begins with its title"));
    let ids: Vec<String> = headings(&events).iter().map(|title| slug(title)).collect();
    let mut ids = ids.into_iter();
    let mut is_dropped = false;
    events.retain_mut(|event| match event {
        Event::Start(Tag::Heading { id, .. }) => {
            *id = ids.next().map(CowStr::from);
            true
        }
        Event::Start(Tag::Link { dest_url, .. }) => {
            is_dropped = !(dest_url.starts_with('#') || dest_url.starts_with("https://"));
            !is_dropped
        }
        Event::End(TagEnd::Link) => !std::mem::take(&mut is_dropped),
        _ => true,
    });
    let mut html = String::new();
    push_html(&mut html, events.into_iter());
    // Screen readers complain about empty header cells.
    let html = html.replace("<pre>", "<pre tabindex=\"0\">").replace("<th></th>", "<td></td>");
    with_regions(&html)
}

/// Wide tables scroll, the page does not. Each has its own name.
fn with_regions(html: &str) -> String {
    let mut regions = String::new();
    for (number, part) in html.split("<table>").enumerate() {
        if number > 0 {
            regions += &format!(
                "<div class=\"table\" role=\"region\" aria-label=\"Table {number}\" tabindex=\"0\"><table>"
            );
        }
        regions += part;
    }
    regions.replace("</table>", "</table></div>")
}

/// The text of each heading.
fn headings(events: &[Event]) -> Vec<String> {
    let (mut titles, mut is_in) = (Vec::new(), false);
    for event in events {
        match event {
            Event::Start(Tag::Heading { .. }) => {
                is_in = true;
                titles.push(String::new());
            }
            Event::End(TagEnd::Heading(_)) => is_in = false,
            Event::Text(text) | Event::Code(text) if is_in => {
                titles.last_mut().expect("one has begun").push_str(text);
            }
            _ => {}
        }
    }
    titles
}

/// The id of a heading, as on GitHub.
fn slug(title: &str) -> String {
    let kept = title.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_within_the_runbooks_leads_to_a_heading() {
        let links = HTML.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next());
        let mut count = 0;
        for link in links {
            assert!(HTML.contains(&format!("id=\"{link}\"")), "{link}");
            count += 1;
        }
        assert!(count > 20, "{count}");
        assert!(!HTML.contains(".md#") && !HTML.contains(".md\""), "files are not served");
    }

    #[test]
    fn headings_have_ids_and_links_to_files_are_text() {
        let html = to_html("# T\n## If a `key`, was stolen\n[a](b.md#c) [d](#e) [f](https://x)\n");
        assert_eq!(
            html,
            "<h2 id=\"if-a-key-was-stolen\">If a <code>key</code>, was stolen</h2>\n\
             <p>a <a href=\"#e\">d</a> <a href=\"https://x\">f</a></p>\n"
        );
    }
}
