//! Reads configurations from TOML tables. A [`Mistake`] has the full name of the field and what it must be, so that
//! [`explain`](super::explain) can say it without the words of the deserializer.

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::{Deserializer, forward_to_deserialize_any};
use std::fmt;
use toml::{Table, Value};

/// A part of a field's name.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    Name(String),
    Index(usize),
}

/// The full name of a field or section: `network.hidden[0].tau_ms`; empty for the whole configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct FieldName(pub Vec<Part>);

impl FieldName {
    /// Reads a name as it is displayed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        if text.trim().is_empty() {
            return Err("the name of the field is missing".into());
        }
        for part in text.trim().split('.') {
            let (name, mut indices) = part.split_at(part.find('[').unwrap_or(part.len()));
            let name = name.trim();
            if name.is_empty() {
                return Err(format!("`{}` is not a field; a name is missing", text.trim()));
            }
            if !name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-') {
                return Err(format!("`{name}` is not a field; names consist of letters, digits and _"));
            }
            parts.push(Part::Name(name.into()));
            while !indices.trim().is_empty() {
                let index = indices.trim().strip_prefix('[').and_then(|rest| rest.split_once(']'));
                let read = index.and_then(|(index, rest)| Some((index.trim().parse().ok()?, rest)));
                let Some((index, rest)) = read else {
                    return Err(format!("`{indices}` is not an index; write for example network.hidden[0].tau_ms=20"));
                };
                parts.push(Part::Index(index));
                indices = rest;
            }
        }
        Ok(FieldName(parts))
    }

    /// The field of this name in the section.
    pub fn field(&self, name: &str) -> Self {
        FieldName([&self.0[..], &[Part::Name(name.into())]].concat())
    }

    /// The section of the field, and the field's name in it; `None` for the entry of a list.
    pub fn split_last(&self) -> Option<(Self, &str)> {
        match self.0.split_last()? {
            (Part::Name(name), above) => Some((FieldName(above.into()), name)),
            (Part::Index(_), _) => None,
        }
    }

    /// Whether this is `section`, or lies in it.
    pub fn is_within(&self, section: &FieldName) -> bool {
        self.0.starts_with(&section.0)
    }

    /// The field's value in the configuration `table`.
    pub fn value_in<'a>(&self, table: &'a Table) -> Option<&'a Value> {
        let (Part::Name(first), rest) = self.0.split_first()? else { return None };
        rest.iter().try_fold(table.get(first)?, |value, part| match part {
            Part::Name(name) => value.get(name),
            Part::Index(k) => value.get(k),
        })
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (k, part) in self.0.iter().enumerate() {
            match part {
                Part::Name(name) if k == 0 => write!(f, "{name}")?,
                Part::Name(name) => write!(f, ".{name}")?,
                Part::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Why a table is not a configuration.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mistake {
    /// The field with the mistake, or the section, if it is of one of several kinds: the deserializer does not say which of its
    /// fields it is.
    pub field: FieldName,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// A value of the wrong type. `found` is the value if it is a number, text or true or false.
    Type { found: Option<Value>, want: String },
    /// A section has a field that it does not know.
    UnknownField { name: String, known: Vec<String> },
    /// A text that is not one of those expected.
    UnknownWord { known: &'static [&'static str] },
    /// A section lacks a field.
    Missing { name: &'static str },
    /// Anything else, as a message.
    Other(String),
}

impl Mistake {
    fn new(what: What) -> Self {
        Mistake { field: FieldName::default(), what }
    }

    /// Any other mistake.
    pub fn other(message: String) -> Self {
        Mistake::new(What::Other(message))
    }

    /// A field that the configuration `known` does not have.
    pub fn unknown(field: &FieldName, known: &Table) -> Self {
        let (section, name) = field.split_last().unwrap_or_default();
        let known = section.value_in(known).and_then(Value::as_table).into_iter().flat_map(Table::keys);
        let known = known.filter(|name| *name != "kind").cloned().collect();
        Mistake { field: section, what: What::UnknownField { name: name.into(), known } }
    }

    fn below(mut self, part: Part) -> Self {
        self.field.0.insert(0, part);
        self
    }

    fn wrong_type(found: Unexpected, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(x) => Some(Value::from(x)),
            Unexpected::Signed(x) => Some(Value::from(x)),
            Unexpected::Unsigned(x) => i64::try_from(x).ok().map(Value::from),
            Unexpected::Float(x) => Some(Value::from(x)),
            Unexpected::Str(x) => Some(Value::from(x)),
            _ => None,
        };
        Mistake::new(What::Type { found, want: expected.to_string() })
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.field, self.what)
    }
}

impl std::error::Error for Mistake {}

impl de::Error for Mistake {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Mistake::new(What::Other(message.to_string()))
    }

    fn invalid_type(found: Unexpected, expected: &dyn Expected) -> Self {
        Mistake::wrong_type(found, expected)
    }

    fn invalid_value(found: Unexpected, expected: &dyn Expected) -> Self {
        Mistake::wrong_type(found, expected)
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Mistake::new(What::Type { found: None, want: expected.to_string() })
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Mistake::new(What::UnknownWord { known })
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        let known = known.iter().map(|name| name.to_string()).collect();
        Mistake::new(What::UnknownField { name: name.into(), known })
    }

    fn missing_field(name: &'static str) -> Self {
        Mistake::new(What::Missing { name })
    }
}

/// Reads a value from a table.
///
/// # Errors
/// The first mistake.
pub(super) fn read<T: DeserializeOwned>(table: &Table) -> Result<T, Mistake> {
    T::deserialize(de::value::MapAccessDeserializer::new(Fields::of(table)))
}

/// A value of a table as serde sees it.
struct Node<'a>(&'a Value);

impl<'de> Deserializer<'de> for Node<'_> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.0 {
            Value::String(text) => visitor.visit_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(is) => visitor.visit_bool(*is),
            Value::Datetime(date) => visitor.visit_str(&date.to_string()),
            Value::Array(entries) => {
                let mut rest = Entries { entries, next: 0 };
                let value = visitor.visit_seq(&mut rest)?;
                match rest.next < entries.len() {
                    true => {
                        Err(Mistake::new(What::Type { found: None, want: format!("an array of length {}", rest.next) }))
                    }
                    false => Ok(value),
                }
            }
            Value::Table(table) => visitor.visit_map(Fields::of(table)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(self)
    }

    /// All enums without a field `kind` are words.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match self.0 {
            Value::String(word) => {
                let word: StrDeserializer<Mistake> = word.as_str().into_deserializer();
                visitor.visit_enum(word)
            }
            _ => Err(Mistake::new(What::UnknownWord { known })),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map
        struct identifier ignored_any
    }
}

/// The entries of a list from `next` on.
struct Entries<'a> {
    entries: &'a [Value],
    next: usize,
}

impl<'de> SeqAccess<'de> for &mut Entries<'_> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Mistake> {
        let Some(entry) = self.entries.get(self.next) else { return Ok(None) };
        let value = seed.deserialize(Node(entry)).map_err(|mistake| mistake.below(Part::Index(self.next)))?;
        self.next += 1;
        Ok(Some(value))
    }
}

/// The fields of a section that are still to be read.
struct Fields<'a> {
    rest: toml::map::Iter<'a, String, Value>,
    last: Option<(&'a String, &'a Value)>,
}

impl<'a> Fields<'a> {
    fn of(table: &'a Table) -> Self {
        Fields { rest: table.iter(), last: None }
    }
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mistake> {
        self.last = self.rest.next();
        let key = |(name, _): (&String, &Value)| seed.deserialize(de::value::StringDeserializer::new(name.clone()));
        self.last.map(key).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mistake> {
        let Some((name, value)) = self.last.take() else { return Err(de::Error::custom("a value before its name")) };
        seed.deserialize(Node(value)).map_err(|mistake| mistake.below(Part::Name(name.clone())))
    }
}
