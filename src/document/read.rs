//! The located tree as a serde deserialiser: an error keeps the place of the value that caused it.

use std::fmt;

use serde::de::{
    self, Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess,
    IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::node::{Entry, Node, Place, Resolved, Value};
use super::words;

pub(super) fn read<T: DeserializeOwned>(root: &Node) -> Result<T, ReadError> {
    T::deserialize(Reader(root)).map_err(|error| error.at(root.place))
}

/// Why a value cannot be read, where, and the path to it.
#[derive(Debug)]
pub(super) struct ReadError {
    message: String,
    place: Option<Place>,
    path: Vec<Segment>,
}

#[derive(Debug)]
enum Segment {
    Key(String),
    Item(usize),
}

impl ReadError {
    fn at(mut self, place: Place) -> Self {
        self.place.get_or_insert(place);
        self
    }
    fn beneath(mut self, segment: Segment) -> Self {
        self.path.push(segment);
        self
    }
    pub(super) fn place(&self) -> Place {
        self.place.unwrap_or_default()
    }
    pub(super) fn message(&self) -> &str {
        &self.message
    }
    pub(super) fn path(&self) -> String {
        let mut path = String::new();
        for segment in self.path.iter().rev() {
            match segment {
                Segment::Key(key) => words::push_key(&mut path, key),
                Segment::Item(index) => path += &format!("[{index}]"),
            }
        }
        path
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), place: None, path: Vec::new() }
    }
}

#[derive(Clone, Copy)]
struct Reader<'a>(&'a Node);

impl Reader<'_> {
    /// A finding that shows what is written, never the value of a variable.
    fn unexpected(self, expected: &dyn fmt::Display) -> ReadError {
        de::Error::custom(format!("expected {expected}, found {}", words::found(self.0)))
    }

    /// Serde's messages quote values; the value of a variable may be a secret.
    fn hide(self, error: ReadError) -> ReadError {
        match self.0.scalar() {
            Some(scalar) if scalar.is_expanded() => {
                let message = format!("{} does not fit here", words::found(self.0));
                ReadError { message, ..error }
            }
            _ => error,
        }
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let read = match &self.0.value {
            Value::Map(entries) => visitor.visit_map(Entries { rest: entries, value: None }),
            Value::List(items) => visitor.visit_seq(Items { items, next: 0 }),
            Value::Scalar(scalar) => match scalar.resolve() {
                Resolved::Null => visitor.visit_unit(),
                Resolved::Boolean(value) => visitor.visit_bool(value),
                Resolved::Float(value) => visitor.visit_f64(value),
                Resolved::Text(text) => visitor.visit_str(text),
                Resolved::Integer(value) => match (i64::try_from(value), u64::try_from(value)) {
                    (Ok(value), _) => visitor.visit_i64(value),
                    (_, Ok(value)) => visitor.visit_u64(value),
                    _ => Err(self
                        .unexpected(&"a number of at most 64 bits (put a longer one in quotes)")),
                },
            },
        };
        read.map_err(|error| self.hide(error).at(self.0.place))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.0.scalar() {
            // The value of a variable is text where text is wanted, whatever it looks like.
            Some(scalar) if scalar.is_expanded() => visitor
                .visit_str(&scalar.text)
                .map_err(|error: ReadError| self.hide(error).at(self.0.place)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let read = match &self.0.value {
            Value::Scalar(scalar) => visitor.visit_enum(scalar.text.as_str().into_deserializer()),
            Value::Map(entries) => match entries.as_slice() {
                [entry] => visitor.visit_enum(Keyed(entry)),
                _ => Err(self.unexpected(&"a mapping with one key")),
            },
            Value::List(_) => Err(self.unexpected(&"a word or a mapping with one key")),
        };
        read.map_err(|error| self.hide(error).at(self.0.place))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Entries<'a> {
    rest: &'a [Entry],
    value: Option<&'a Entry>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        let Some((entry, rest)) = self.rest.split_first() else { return Ok(None) };
        self.rest = rest;
        self.value = Some(entry);
        let key = seed.deserialize(entry.key.as_str().into_deserializer());
        key.map(Some).map_err(|error: ReadError| error.at(entry.place))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, ReadError> {
        let entry = self.value.take().ok_or_else(|| de::Error::custom("a value before its key"))?;
        let value = seed.deserialize(Reader(&entry.value));
        value.map_err(|error| error.at(entry.value.place).beneath(Segment::Key(entry.key.clone())))
    }
}

struct Items<'a> {
    items: &'a [Node],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let index = self.next;
        let Some(item) = self.items.get(index) else { return Ok(None) };
        self.next += 1;
        let value = seed.deserialize(Reader(item));
        value.map(Some).map_err(|error| error.at(item.place).beneath(Segment::Item(index)))
    }
}

/// `kind: settings`, the form of an enum's variant.
#[derive(Clone, Copy)]
struct Keyed<'a>(&'a Entry);

impl<'de> EnumAccess<'de> for Keyed<'_> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), ReadError> {
        let variant = seed.deserialize(self.0.key.as_str().into_deserializer());
        variant.map(|variant| (variant, self)).map_err(|error: ReadError| error.at(self.0.place))
    }
}

impl Keyed<'_> {
    fn within<T>(&self, read: Result<T, ReadError>) -> Result<T, ReadError> {
        read.map_err(|error| error.at(self.0.value.place).beneath(Segment::Key(self.0.key.clone())))
    }
}

impl<'de> VariantAccess<'de> for Keyed<'_> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        self.within(<()>::deserialize(Reader(&self.0.value)))
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        self.within(seed.deserialize(Reader(&self.0.value)))
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.within(Reader(&self.0.value).deserialize_any(visitor))
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.within(Reader(&self.0.value).deserialize_any(visitor))
    }
}
