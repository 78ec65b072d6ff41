//! Removes absolute paths and the names of user and machine from text.
//!
//! Reports are published, and may quote drivers, panics and error messages, which contain such names and paths.

use serde_json::Value;

/// Environment variables with the user's name.
const USER_VARIABLES: [&str; 4] = ["USER", "LOGNAME", "USERNAME", "SUDO_USER"];
/// Environment variables with the machine's name.
const HOST_VARIABLES: [&str; 3] = ["HOSTNAME", "HOST", "COMPUTERNAME"];
/// Environment variables with the path of the home folder, whose name is often the user's.
const HOME_VARIABLES: [&str; 2] = ["HOME", "USERPROFILE"];
/// Replaces the folders of a path; the file name is kept.
const PATH: &str = "<path>";
const USER: &str = "<user>";
const HOST: &str = "<host>";
/// Shorter names are not replaced, since they would match ordinary text.
const SHORTEST_NAME: usize = 2;

/// Replaces names and paths.
#[derive(Debug, Clone, Default)]
pub struct Scrubber {
    /// Names in lower case and their replacements; the longest first.
    names: Vec<(String, &'static str)>,
    /// Folders whose paths may contain spaces; the longest first.
    folders: Vec<String>,
}

impl Scrubber {
    /// A scrubber for the user, machine and folders of this process.
    pub fn of_this_process() -> Self {
        let variables = |names: &'static [&'static str]| names.iter().filter_map(|name| std::env::var(name).ok());
        let homes = variables(&HOME_VARIABLES).chain(std::env::home_dir().map(|path| path.display().to_string()));
        let homes: Vec<String> = homes.collect();
        let base = |path: &String| path.rsplit(['/', '\\']).find(|part| !part.is_empty()).map(String::from);
        let users = variables(&USER_VARIABLES).chain(homes.iter().filter_map(base));
        let hosts = variables(&HOST_VARIABLES).chain(sysinfo::System::host_name());
        let folders = [std::env::current_dir().ok(), Some(std::env::temp_dir())].into_iter().flatten();
        let folders = folders.map(|path| path.display().to_string()).chain(homes.iter().cloned());
        Self::new(users, hosts, folders)
    }

    /// A scrubber for these names and folders.
    pub fn new(
        users: impl IntoIterator<Item = String>,
        hosts: impl IntoIterator<Item = String>,
        folders: impl IntoIterator<Item = String>,
    ) -> Self {
        let users = users.into_iter().map(|name| (name, USER));
        // Also replace `laptop` for `laptop.example.org`.
        let hosts = hosts.into_iter().flat_map(|name| {
            let first = name.split('.').next().unwrap_or_default().to_string();
            [(name, HOST), (first, HOST)]
        });
        let mut names: Vec<(String, &'static str)> = users
            .chain(hosts)
            .map(|(name, word)| (name.trim().to_lowercase(), word))
            .filter(|(name, _)| name.chars().count() >= SHORTEST_NAME)
            .collect();
        names.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.cmp(b)));
        names.dedup_by(|a, b| a.0 == b.0);
        // Very short paths such as `/` reveal nothing.
        let mut folders: Vec<String> = folders.into_iter().filter(|folder| folder.len() > 2).collect();
        folders.sort_by_key(|folder| std::cmp::Reverse(folder.len()));
        folders.dedup();
        Scrubber { names, folders }
    }

    /// Replaces names and paths in a text.
    pub fn text(&self, text: &str) -> String {
        let known = self.folders.iter().fold(text.to_string(), |text, folder| text.replace(folder, PATH));
        let without_paths = paths(&known);
        self.names.iter().fold(without_paths, |text, (name, word)| replace_name(&text, name, word))
    }

    /// Replaces names and paths in all strings of a value except keys, which are this program's.
    pub fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.value(field)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// Replaces a name where it is a whole word, ignoring case.
fn replace_name(text: &str, name: &str, word: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = None;
    while let Some(c) = rest.chars().next() {
        let alone = !before.is_some_and(char::is_alphanumeric);
        match Some(rest).filter(|_| alone).and_then(|rest| prefix_length(rest, name)) {
            Some(n) if !rest[n..].chars().next().is_some_and(char::is_alphanumeric) => {
                out.push_str(word);
                before = rest[..n].chars().next_back();
                rest = &rest[n..];
            }
            _ => {
                out.push(c);
                before = Some(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    out
}

/// The length in bytes of `name`, which is in lower case, at the beginning of `text`; `None` if it does not begin with it.
fn prefix_length(text: &str, name: &str) -> Option<usize> {
    let mut wanted = name.chars();
    for (at, c) in text.char_indices() {
        if wanted.as_str().is_empty() {
            return Some(at);
        }
        for lower in c.to_lowercase() {
            if wanted.next() != Some(lower) {
                return None;
            }
        }
    }
    wanted.as_str().is_empty().then_some(text.len())
}

/// Replaces absolute paths of Unix and Windows by [`PATH`] and the file name.
fn paths(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = None;
    while let Some(c) = rest.chars().next() {
        let (web, n) = (address_length(rest, before), path_length(rest, before));
        if web > 0 {
            out.push_str(&rest[..web]);
            before = rest[..web].chars().next_back();
            rest = &rest[web..];
        } else if n > 0 {
            let path = &rest[..n];
            // The rest of a path whose beginning was already replaced.
            if !out.ends_with(PATH) {
                out.push_str(PATH);
            }
            if let Some(name) = path.rsplit(['/', '\\']).next().filter(|name| !name.is_empty()) {
                out.push('/');
                out.push_str(name);
            }
            before = path.chars().next_back();
            rest = &rest[n..];
        } else {
            out.push(c);
            before = Some(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

/// The length in bytes of a network address after `https:`; 0 if it is not one. After `file:`, a path has a third slash.
fn address_length(text: &str, before: Option<char>) -> usize {
    match text.strip_prefix("//") {
        Some(rest) if before == Some(':') && !rest.starts_with('/') => {
            text.find(|c: char| c.is_whitespace() || "\"'<>()".contains(c)).unwrap_or(text.len())
        }
        _ => 0,
    }
}

/// The length in bytes of the absolute path at the beginning of `text`, which follows the character `before`; 0 if there
/// is none.
fn path_length(text: &str, before: Option<char>) -> usize {
    // Within a word, a slash is a separator: `ms/step`, `and/or`. After `>`, it continues a folder that was replaced.
    let within = before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | ')' | ']' | '%'));
    let mut chars = text.chars();
    let (first, second, third) = (chars.next(), chars.next(), chars.next());
    let begins = match (first, second, third) {
        (Some('/'), Some('/'), Some(c)) => !within && (is_name(c) || c == '/'),
        (Some('/'), Some(c), _) => !within && is_name(c),
        (Some('\\'), Some('\\'), Some(c)) => !within && (is_name(c) || c == '?'),
        (Some('\\'), Some(c), _) => before == Some('>') && is_name(c),
        (Some(drive), Some(':'), Some('\\' | '/')) => !within && drive.is_ascii_alphabetic(),
        _ => false,
    };
    if !begins {
        return 0;
    }
    let mut length = 0;
    for (at, c) in text.char_indices() {
        let drive = at == 1 && c == ':';
        if !(is_name(c) || drive || matches!(c, '/' | '\\' | '?' | '~' | '@' | '+' | '%' | '$' | '{' | '}' | '=')) {
            break;
        }
        length = at + c.len_utf8();
    }
    // A full stop at the end is that of the sentence.
    let path = text[..length].trim_end_matches('.');
    path.len()
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrubber() -> Scrubber {
        let text = String::from;
        Scrubber::new(
            [text("ada"), text("Ada.Lovelace")],
            [text("engine7.example.org")],
            [text("/home/Ada Lovelace"), text("/tmp")],
        )
    }

    #[track_caller]
    fn becomes(text: &str, expected: &str) {
        assert_eq!(scrubber().text(text), expected);
    }

    #[test]
    fn absolute_paths_keep_their_files_name() {
        becomes("/usr/lib/libvulkan.so.1: not found", "<path>/libvulkan.so.1: not found");
        becomes("panicked at /root/.cargo/src/wgpu-30.0.1/a.rs:12:5:", "panicked at <path>/a.rs:12:5:");
        becomes("open(\"/dev/dri/renderD128\"), '/etc/x'.", "open(\"<path>/renderD128\"), '<path>/x'.");
        becomes("XDG=/run/user/1000/", "XDG=<path>");
        becomes(r"at C:\Users\bob\x\driver.dll, and \\server\share\f.txt", "at <path>/driver.dll, and <path>/f.txt");
        becomes("C:/Users/bob/a.json", "<path>/a.json");
        becomes("file:///opt/it.json", "file:<path>/it.json");
        becomes("Read /tmp/x/y.", "Read <path>/y.");
    }

    #[test]
    fn folders_with_spaces_are_known() {
        becomes("/home/Ada Lovelace/runs/a.json is full", "<path>/a.json is full");
        becomes("in /home/Ada Lovelace", "in <path>");
    }

    #[test]
    fn what_is_no_path_stays() {
        for text in [
            "12 ms/step",
            "and/or",
            "a / b",
            "a // b",
            "https://github.com/gfx-rs/wgpu/issues/1",
            "dw.0 3.1e-7 of 1e-4",
        ] {
            becomes(text, text);
        }
        becomes("Mesa 22.3.6 (LLVM 15.0.6)", "Mesa 22.3.6 (LLVM 15.0.6)");
    }

    #[test]
    fn names_stand_alone() {
        becomes("ada@ENGINE7: hello", "<user>@<host>: hello");
        becomes("engine7.example.org and adapter, Canada, ADA", "<host> and adapter, Canada, <user>");
        becomes("ada.lovelace's", "<user>'s");
        becomes("ada_x", "<user>_x");
    }

    #[test]
    fn values_are_scrubbed_inside() {
        let mut value = serde_json::json!({ "ada": ["/home/ada/x.rs", 1, null, { "k": "by ada" }] });
        scrubber().value(&mut value);
        assert_eq!(value, serde_json::json!({ "ada": ["<path>/x.rs", 1, null, { "k": "by <user>" }] }));
    }

    #[test]
    fn this_process_is_known() {
        let scrubber = Scrubber::of_this_process();
        let here = std::env::current_dir().unwrap().display().to_string();
        let scrubbed = scrubber.text(&format!("at {here}/src/lib.rs on {}", sysinfo::System::host_name().unwrap()));
        assert_eq!(scrubbed, "at <path>/lib.rs on <host>");
    }
}
