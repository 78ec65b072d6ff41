//! The page: the files of `demo/`, which are part of the program.

/// A file of the page.
pub struct File {
    /// Its path in a request.
    pub path: &'static str,
    /// Its MIME type.
    pub kind: &'static str,
    /// Its contents.
    pub bytes: &'static [u8],
}

macro_rules! file {
    ($path:literal, $kind:literal, $file:literal) => {
        File { path: $path, kind: $kind, bytes: include_bytes!(concat!("../../demo/", $file)) }
    };
}

/// All files that are served; nothing else is.
pub const FILES: &[File] = &[
    file!("/", "text/html; charset=utf-8", "index.html"),
    file!("/style.css", "text/css; charset=utf-8", "style.css"),
    file!("/icon.svg", "image/svg+xml", "icon.svg"),
    file!("/js/canvas.js", "text/javascript; charset=utf-8", "js/canvas.js"),
    file!("/js/curves.js", "text/javascript; charset=utf-8", "js/curves.js"),
    file!("/js/draw.js", "text/javascript; charset=utf-8", "js/draw.js"),
    file!("/js/format.js", "text/javascript; charset=utf-8", "js/format.js"),
    file!("/js/kernels.js", "text/javascript; charset=utf-8", "js/kernels.js"),
    file!("/js/main.js", "text/javascript; charset=utf-8", "js/main.js"),
    file!("/js/race.js", "text/javascript; charset=utf-8", "js/race.js"),
    file!("/js/raster.js", "text/javascript; charset=utf-8", "js/raster.js"),
    file!("/js/source.js", "text/javascript; charset=utf-8", "js/source.js"),
    file!("/js/weights.js", "text/javascript; charset=utf-8", "js/weights.js"),
];

/// Nothing but these files, no code in them but scripts of this origin, in no frame.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
     connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The file at `path`.
pub fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path || file.path == "/" && path == "/index.html")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_file_of_the_page_is_served_as_what_it_is() {
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
        let mut folders = vec![demo.clone()];
        while let Some(folder) = folders.pop() {
            for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                let name = path.strip_prefix(&demo).unwrap().to_str().unwrap().replace('\\', "/");
                let kind = match path.extension().and_then(|ending| ending.to_str()) {
                    // The engine for browsers is no part of the program.
                    None if path.is_dir() && name != "engine" => {
                        folders.push(path);
                        continue;
                    }
                    Some("html") => "text/html",
                    Some("js") => "text/javascript",
                    Some("css") => "text/css",
                    Some("svg") => "image/svg+xml",
                    _ => continue,
                };
                let file = find(&format!("/{name}")).unwrap_or_else(|| panic!("demo/{name} is not in FILES"));
                assert!(file.kind.starts_with(kind) && file.bytes == std::fs::read(&path).unwrap(), "{name}");
            }
        }
        assert!(find("/").is_some() && find("/../Cargo.toml").is_none() && find("").is_none());
    }
}
