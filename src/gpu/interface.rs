//! What a kernel expects from the host: the fields of its uniform struct and its bindings.
//!
//! Found by scanning the text, because a browser compiles WGSL without telling what it contains. `tests/shaders.rs` compares
//! the outcome with naga's reflection of every variant.

use super::params::UNUSED;

/// A binding of a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Its variable.
    pub name: String,
    /// `uniform`, `read` or `read_write`.
    pub access: String,
}

/// The uniform struct and the bindings of a kernel's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The type of binding 0.
    pub uniform: String,
    /// The fields of that struct, in order.
    pub fields: Vec<String>,
    /// Binding 1 and those after it, in order.
    pub bindings: Vec<Binding>,
}

impl Interface {
    /// Scans assembled WGSL. A declaration stands on one line, a field of a struct as well.
    pub fn of(wgsl: &str) -> Self {
        let mut declared: Vec<_> = wgsl.lines().filter_map(declaration).collect();
        declared.sort_by_key(|(number, ..)| *number);
        let mut declared = declared.into_iter();
        let uniform = declared.next().map(|(_, _, ty)| ty).unwrap_or_default();
        let bindings = declared.map(|(_, binding, _)| binding).collect();
        Interface { fields: fields(wgsl, &uniform).map(|(name, _)| name.into()).collect(), uniform, bindings }
    }
}

/// Number, binding and type of a line such as `@group(0) @binding(1) var<storage, read> counts: array<u32>;`.
fn declaration(line: &str) -> Option<(u32, Binding, String)> {
    let (number, rest) = line.strip_prefix("@group(0) @binding(")?.split_once(')')?;
    let (space, rest) = rest.split_once("var<")?.1.split_once('>')?;
    let (name, ty) = rest.split_once(';')?.0.split_once(':')?;
    let access = space.split(',').next_back()?.trim();
    Some((number.parse().ok()?, Binding { name: name.trim().into(), access: access.into() }, ty.trim().into()))
}

/// Names and types of the fields of a struct.
pub fn fields<'a>(wgsl: &'a str, name: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let head = format!("struct {name} {{");
    let body = wgsl.lines().skip_while(move |line| *line != head).skip(1).take_while(|line| *line != "}");
    body.filter_map(|line| {
        let (name, rest) = line.split_once(':')?;
        Some((name.trim(), rest.split_once(',')?.0.trim()))
    })
}

/// `wgsl` with `struct Params` reduced to the fields that the text reads. A value of this type is called `p` everywhere, but in
/// texts with several: there the fields of any value stay, and some are added so that an array of them is valid uniform data.
pub fn with_params_that_are_read(wgsl: &str) -> String {
    let several = wgsl.contains("struct Layers {");
    let value = if several { "" } else { "p" };
    let read: std::collections::HashSet<&str> = wgsl.lines().flat_map(|line| fields_read(line, value)).collect();
    let mut out = String::with_capacity(wgsl.len());
    let (mut inside, mut kept) = (false, 0usize);
    for line in wgsl.lines() {
        if inside && several && line == "}" {
            // The elements of an array in uniform data begin at multiples of 16 bytes.
            (kept..kept.next_multiple_of(4)).for_each(|k| out.push_str(&format!("    {UNUSED}{k}: u32,\n")));
        }
        inside = (inside && line != "}") || line == "struct Params {";
        let field = line.split_once(':').filter(|_| inside).map(|(name, _)| name.trim());
        if field.is_none_or(|field| read.contains(field)) {
            kept += usize::from(field.is_some());
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// FIELD of each `VALUE.FIELD` in a line of code, for all values if `value` is empty.
fn fields_read<'a>(line: &'a str, value: &'a str) -> impl Iterator<Item = &'a str> {
    let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let code = line.split_once("//").map_or(line, |(code, _)| code);
    let is_value = move |before: &str| match before.strip_suffix(value) {
        Some(before) => value.is_empty() || !before.ends_with(|c| in_word(c) || c == '.'),
        None => false,
    };
    code.match_indices('.').filter(move |&(at, _)| is_value(&code[..at])).map(move |(at, _)| {
        let rest = &code[at + 1..];
        &rest[..rest.find(|c| !in_word(c)).unwrap_or(rest.len())]
    })
}

#[cfg(test)]
mod tests {
    use super::super::shaders::{ADAM, GEMM_SUM, WEIGHT_GRADIENT};
    use super::*;

    #[test]
    fn bindings_of_a_shader() {
        let names = |interface: &Interface| -> Vec<String> {
            interface.bindings.iter().map(|b| format!("{} {}", b.access, b.name)).collect()
        };
        let adam = Interface::of(&ADAM.wgsl(&[]));
        assert_eq!(names(&adam)[..2], ["read_write status", "read gradient"], "{adam:?}");
        assert_eq!((adam.uniform.as_str(), &adam.fields[..]), ("Params", &["layer_bit".to_string()][..]));
        let gradient = names(&Interface::of(&WEIGHT_GRADIENT.wgsl(&["WIDE", "ADAM"])));
        assert_eq!((gradient.len(), gradient[8].as_str()), (9, "uniform a"), "{gradient:?}");
        let sum = Interface::of(&GEMM_SUM.wgsl(&[]));
        assert_eq!((sum.uniform.as_str(), sum.fields.len()), ("SumParams", 3));
    }

    #[test]
    fn only_fields_that_are_read_stay() {
        let text = "struct Params {\n    a: u32,  // a\n    b: u32,\n    c: f32,\n    d: u32,\n}\nfn f(p: Params) -> u32 {\n    \
                    let c = q.p.c + sp.d; // p.b\n    return p.a + p.d;\n}\n";
        let cut = with_params_that_are_read(text);
        assert_eq!(fields(&cut, "Params").map(|(name, _)| name).collect::<Vec<_>>(), ["a", "d"]);
        assert_eq!(cut.replace("    a: u32,  // a\n    d: u32,\n", ""), {
            let (head, rest) = text.split_once("    a:").unwrap();
            head.to_string() + rest.split_once("d: u32,\n").unwrap().1
        });
    }
}
