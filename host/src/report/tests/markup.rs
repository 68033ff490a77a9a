//! A strict reader of the markup that the page uses: the subset that is HTML and XML at once.

/// Elements that HTML allows without an end tag, and shapes of SVG; all must be closed in their own
/// tag.
const EMPTY: [&str; 6] = ["meta", "img", "line", "rect", "path", "circle"];

/// Whether every tag is closed in order, every attribute quoted and unique, every text escaped.
pub(super) fn check(html: &str) -> Result<(), String> {
    let mut rest = html.strip_prefix("<!DOCTYPE html>\n").ok_or("no document type")?;
    let mut open: Vec<&str> = Vec::new();
    while let Some(start) = rest.find('<') {
        check_text(&rest[..start])?;
        rest = &rest[start + 1..];
        let end = end_of_tag(rest).ok_or("a tag without end")?;
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("</{name}> closes another element"));
            }
            continue;
        }
        let (tag, closed) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        check_attributes(attributes).map_err(|fault| format!("<{tag}>: {fault}"))?;
        match (closed, EMPTY.contains(&name)) {
            (true, false) => return Err(format!("<{name}/> must have an end tag")),
            (true, true) => {}
            (false, _) => open.push(name),
        }
        if name == "style" {
            rest = &rest[rest.find("</style>").ok_or("a style sheet without end")?..];
        }
    }
    check_text(rest)?;
    if open.is_empty() { Ok(()) } else { Err(format!("never closed: {open:?}")) }
}

/// All text of the page between tags, unescaped; the text of each element starts a new line.
pub(super) fn text_of(html: &str) -> String {
    let mut text = String::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        text.push_str(&rest[..start]);
        text.push('\n');
        rest = &rest[start + 1..];
        rest = &rest[end_of_tag(rest).map_or(rest.len(), |end| end + 1)..];
    }
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
        .into_iter()
        .fold(text, |text, (escaped, plain)| text.replace(escaped, plain))
}

/// The bytes that a base 64 text encodes, decoded bit by bit.
pub(super) fn decode_base64(text: &str) -> Vec<u8> {
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0u32, 0);
    for digit in text.bytes().filter(|&digit| digit != b'=') {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => panic!("{digit} is not a digit of base 64"),
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    bytes
}

/// Position of the `>` that ends a tag; the tag may contain others within quotes.
fn end_of_tag(tag: &str) -> Option<usize> {
    let mut quoted = false;
    tag.bytes().position(|byte| {
        quoted ^= byte == b'"';
        byte == b'>' && !quoted
    })
}

fn check_attributes(mut rest: &str) -> Result<(), String> {
    let mut names: Vec<&str> = Vec::new();
    while !rest.is_empty() {
        let (name, behind) = rest.split_once("=\"").ok_or("an attribute without quotes")?;
        let (value, behind) = behind.split_once('"').ok_or("an attribute without end")?;
        if names.contains(&name) || name.contains(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        {
            return Err(format!("attribute {name:?} is repeated or misnamed"));
        }
        names.push(name);
        check_text(value)?;
        rest = behind.strip_prefix(' ').unwrap_or(behind);
    }
    Ok(())
}

fn check_text(text: &str) -> Result<(), String> {
    if text.contains(['<', '>', '"', '\'']) {
        return Err(format!("not escaped: {text:?}"));
    }
    for behind in text.split('&').skip(1) {
        if !["amp;", "lt;", "gt;", "quot;", "#39;"].iter().any(|name| behind.starts_with(name)) {
            return Err(format!("& is not escaped: {text:?}"));
        }
    }
    Ok(())
}

#[test]
fn the_reader_finds_the_faults_it_is_for() {
    let page = |body: &str| check(&format!("<!DOCTYPE html>\n{body}"));
    assert_eq!(page("<p class=\"a &gt; b\">1 &lt; 2<img src=\"x\"/></p>"), Ok(()));
    for fault in [
        "<p>",
        "<p></b>",
        "</p>",
        "<p/>",
        "<p>a & b</p>",
        "<p>a > b</p>",
        "<p class=\"a > b\"></p>",
        "<p class=a></p>",
        "<p a=\"1\" a=\"2\"></p>",
        "<img src=\"x\">",
        "<p",
    ] {
        assert!(page(fault).is_err(), "{fault}");
    }
}
