//! An HTML page with all figures in a folder.

use super::ITEMS;
use super::figure::MAX_TABLE_BYTES;
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::limits;
use serde_json::Value;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// File name of the page.
pub const PAGE_FILE: &str = "index.html";
/// Maximum number of rows of a figure's CSV shown on the page.
const MOST_ROWS: usize = 400;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#22262e}\
figure{margin:2rem 0 3rem}img{max-width:100%;height:auto;border:1px solid #e4e6ea}\
table{border-collapse:collapse;font-size:.85rem}\
td,th{border-bottom:1px solid #e4e6ea;padding:.15rem .6rem;text-align:left}summary{cursor:pointer}\
nav a{margin-right:.8rem;white-space:nowrap}.missing{color:#a33}";

/// Writes the page for the figures in the folder. `missing` has the names of figures that were not computed, and why.
///
/// # Errors
/// [`Error::Io`], or [`Error::Format`] naming a damaged file of a figure.
pub fn write(folder: &Path, missing: &[(String, String)]) -> Result<PathBuf> {
    let mut links = String::new();
    let mut body = String::new();
    for item in ITEMS {
        let about = folder.join(format!("{}.json", item.name));
        let why = missing.iter().find(|(name, _)| name == item.name);
        if !about.exists() && why.is_none() {
            continue;
        }
        let name = item.name;
        // Writing to a String cannot fail.
        let _ = write!(links, "<a href=\"#{name}\">{name}</a> ");
        let about = match about.exists() {
            true => {
                let text = limits::read_text(&about, MAX_TABLE_BYTES, "the facts of a figure")?;
                serde_json::from_str(&text).map_err(|e| Error::format(&about, e.to_string()))?
            }
            false => Value::Null,
        };
        let title = escape(about["title"].as_str().unwrap_or(item.title));
        let _ = write!(body, "<h2 id=\"{name}\">{title}</h2>\n<p>{}</p>\n", escape(item.measures));
        if let Some((_, why)) = why {
            let _ = writeln!(body, "<p class=\"missing\">Not computed: {}</p>", escape(why));
        }
        if !about.is_null() {
            // The picture contains its caption, so the page repeats it only for those who cannot see the picture.
            let caption = escape(about["caption"].as_str().unwrap_or_default());
            // Folders of earlier versions have PNG files only.
            let svg = folder.join(format!("{name}.svg")).exists();
            let picture = format!("{name}.{}", if svg { "svg" } else { "png" });
            let _ = write!(
                body,
                "<figure><a href=\"{picture}\"><img src=\"{picture}\" alt=\"{caption}\" loading=\"lazy\"></a>\n\
                 <a href=\"{name}.png\">{name}.png</a> <a href=\"{name}.csv\">{name}.csv</a> \
                 <a href=\"{name}.json\">{name}.json</a>\n{}</figure>\n",
                table(&folder.join(format!("{name}.csv")))?
            );
        }
    }
    let page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>spikegrad: the paper's figures</title><style>{STYLE}</style></head><body>\n\
         <h1>Sparse spiking gradient descent: the paper's figures, recomputed</h1>\n\
         <p>Computed by spikegrad {} after Perez-Nieves and Goodman, <i>Sparse Spiking Gradient Descent</i> (NeurIPS \
         2021). Captions name the machine; the CSV files have all points.</p>\n<nav>{links}</nav>\n{body}</body></html>\n",
        env!("CARGO_PKG_VERSION")
    );
    let path = folder.join(PAGE_FILE);
    write_atomically(&path, page.as_bytes())?;
    Ok(path)
}

/// The figure's numbers as an HTML table, rounded and without constant columns.
fn table(path: &Path) -> Result<String> {
    let bytes = limits::read(path, MAX_TABLE_BYTES, "the table of a figure")?;
    let mut reader = csv::Reader::from_reader(&bytes[..]);
    let bad = |e: csv::Error| Error::format(path, e.to_string());
    let head = reader.headers().map_err(bad)?.clone();
    let shown: Vec<usize> = (0..head.len())
        .filter(|&c| !["machine", "adapter", "x_name", "y_name", "values", "seeds"].contains(&&head[c]))
        .collect();
    let mut html = String::from("<details><summary>numbers</summary><table><tr>");
    shown.iter().for_each(|&c| html.push_str(&format!("<th>{}</th>", escape(&head[c]))));
    html.push_str("</tr>\n");
    let mut rows = 0;
    for record in reader.records() {
        let record = record.map_err(bad)?;
        rows += 1;
        if rows > MOST_ROWS {
            continue;
        }
        html.push_str("<tr>");
        shown.iter().for_each(|&c| html.push_str(&format!("<td>{}</td>", escape(&rounded(&record[c])))));
        html.push_str("</tr>\n");
    }
    html.push_str("</table>");
    if rows > MOST_ROWS {
        html.push_str(&format!("<p>and {} more rows in the CSV</p>", rows - MOST_ROWS));
    }
    Ok(html + "</details>")
}

/// Rounds long fractions to four digits; returns other text unchanged.
fn rounded(cell: &str) -> String {
    match cell.parse::<f64>() {
        Ok(x) if cell.contains('.') && cell.len() > 6 && x != 0.0 && x.is_finite() => {
            let decimals = (3 - x.abs().log10().floor() as i32).clamp(0, 8) as usize;
            format!("{x:.decimals$}")
        }
        _ => cell.to_string(),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_and_words_escaped() {
        assert_eq!(
            ["0.123456789", "1234.56789", "200", "fig", "0.5"].map(rounded),
            ["0.1235", "1235", "200", "fig", "0.5"]
        );
        assert_eq!(escape("a < b & \"c\""), "a &lt; b &amp; &quot;c&quot;");
    }

    #[test]
    fn a_caption_stands_once() {
        let folder = tempfile::tempdir().unwrap();
        let write_file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write_file("fig-7.json", "{\"title\": \"Spikes\", \"caption\": \"Each dot is a \\\"spike\\\".\"}");
        write_file("fig-7.csv", "sample,t_ms\n0,1\n");
        let text = std::fs::read_to_string(write(folder.path(), &[]).unwrap()).unwrap();
        assert_eq!(text.matches("Each dot is a").count(), 1);
        assert!(text.contains("<img src=\"fig-7.png\" alt=\"Each dot is a &quot;spike&quot;.\""), "{text}");
        write_file("fig-7.svg", "<svg/>");
        let text = std::fs::read_to_string(write(folder.path(), &[]).unwrap()).unwrap();
        assert!(text.contains("<img src=\"fig-7.svg\" alt=") && text.contains("<a href=\"fig-7.png\">"), "{text}");
    }

    #[test]
    fn what_is_missing_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let page = write(folder.path(), &[("fig-7".into(), "where is <N-MNIST>?".into())]).unwrap();
        let text = std::fs::read_to_string(page).unwrap();
        assert!(
            text.contains("where is &lt;N-MNIST&gt;?")
                && text.contains("id=\"fig-7\"")
                && !text.contains("id=\"fig-8\"")
        );
    }
}
