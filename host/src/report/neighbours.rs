//! Queries and their nearest neighbours, before and after the bilevel stage.

use super::html::Html;
use super::number;
use super::{Neighbour, NeighbourRow, Picture, ReportError};

/// Edge of a neighbour on the page, in CSS pixels; the style sheet has the same number.
const EDGE: u32 = 44;

/// A row whose pictures are data URIs.
pub(super) struct EncodedRow<'a> {
    class: &'a str,
    query: Image,
    before: Vec<EncodedNeighbour>,
    after: Vec<EncodedNeighbour>,
}

struct EncodedNeighbour {
    image: Image,
    same_class: bool,
}

struct Image {
    uri: String,
    class: &'static str,
}

/// Encodes all pictures, so that writing the page cannot fail.
///
/// # Errors
/// The first picture that cannot be encoded.
pub(super) fn encode(rows: &[NeighbourRow]) -> Result<Vec<EncodedRow<'_>>, ReportError> {
    rows.iter()
        .enumerate()
        .map(|(index, row)| {
            let place = format!("neighbours, row {index} ({})", row.class);
            Ok(EncodedRow {
                class: &row.class,
                query: image(&row.query, &format!("{place}, query"))?,
                before: encode_all(&row.before, &format!("{place}, before"))?,
                after: encode_all(&row.after, &format!("{place}, after"))?,
            })
        })
        .collect()
}

fn encode_all(neighbours: &[Neighbour], place: &str) -> Result<Vec<EncodedNeighbour>, ReportError> {
    neighbours
        .iter()
        .enumerate()
        .map(|(index, neighbour)| {
            let image = image(&neighbour.picture, &format!("{place}, neighbour {index}"))?;
            Ok(EncodedNeighbour { image, same_class: neighbour.same_class })
        })
        .collect()
}

fn image(picture: &Picture, place: &str) -> Result<Image, ReportError> {
    // Small pictures are scaled up, and their pixels stay squares; scaling a large one down that
    // way would drop pixels.
    let class = if picture.width.max(picture.height) <= EDGE { "crisp" } else { "smooth" };
    Ok(Image { uri: picture.data_uri(place)?, class })
}

/// The section; writes nothing without rows.
pub(super) fn render(html: &mut Html, rows: &[EncodedRow<'_>]) {
    if rows.is_empty() {
        return;
    }
    html.element("section", &[], |html| {
        html.text_element("h2", &[], "Nearest neighbours");
        let before = total(rows.iter().map(|row| &row.before));
        let after = total(rows.iter().map(|row| &row.after));
        let text = format!(
            "The pictures nearest to a query in feature space, nearest first, before the bilevel stage \
             and after it. Of the query’s class (outlined): {before} before, {after} after. These \
             few rows are examples, not a measurement."
        );
        html.text_element("p", &[("class", "about")], &text);
        html.element("div", &[("class", "queries")], |html| {
            for row in rows {
                query(html, row);
            }
        });
    });
    html.line();
}

fn query(html: &mut Html, row: &EncodedRow<'_>) {
    html.element("div", &[("class", "query")], |html| {
        html.element("div", &[("class", "asked")], |html| {
            picture(html, &row.query, row.class);
            html.text_element("span", &[], row.class);
        });
        html.element("div", &[("class", "found")], |html| {
            neighbours(html, "Before", &row.before);
            neighbours(html, "After", &row.after);
        });
    });
    html.line();
}

fn neighbours(html: &mut Html, label: &str, neighbours: &[EncodedNeighbour]) {
    if neighbours.is_empty() {
        return;
    }
    html.element("div", &[("class", "side")], |html| {
        html.element("span", &[("class", "label")], |html| {
            html.text(label);
            html.text_element("b", &[], &total([neighbours].into_iter()));
        });
        html.element("div", &[("class", "pictures")], |html| {
            for neighbour in neighbours {
                let (class, name) = if neighbour.same_class {
                    ("same", "same class")
                } else {
                    ("other", "another class")
                };
                html.element("span", &[("class", class)], |html| {
                    picture(html, &neighbour.image, name);
                });
            }
        });
    });
}

fn picture(html: &mut Html, image: &Image, name: &str) {
    html.empty_element("img", &[("class", image.class), ("src", &image.uri), ("alt", name)]);
}

/// How many neighbours have the query's class, and how many there are.
fn total<'a, T: AsRef<[EncodedNeighbour]> + 'a + ?Sized>(
    sides: impl Iterator<Item = &'a T> + Clone,
) -> String {
    let all = sides.clone().map(|side| side.as_ref().len()).sum();
    let same = sides.flat_map(AsRef::as_ref).filter(|neighbour| neighbour.same_class).count();
    format!("{} of {}", number::count(same), number::count(all))
}
