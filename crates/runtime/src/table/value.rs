//! Values on their way into a statement and out of a row, the same on both engines.

use core::fmt;
use std::sync::Arc;

use salus_proto::{Digest, TimestampMs, ids};

use crate::error::{Error, Result};

/// A value that both engines store and give back unchanged. `Debug` shows no content.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// No value, for a column of this kind.
    Null(Kind),
    /// `BOOLEAN`.
    Boolean(bool),
    /// `BIGINT`.
    Integer(i64),
    /// `TEXT`, UTF-8 without NUL.
    Text(String),
    /// `BYTEA`.
    Bytes(Vec<u8>),
    /// An unsigned number above `i64::MAX`; every statement refuses it.
    OutOfRange,
}

/// The kinds of column there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `BOOLEAN`.
    Boolean,
    /// `BIGINT`.
    Integer,
    /// `TEXT`.
    Text,
    /// `BYTEA`.
    Bytes,
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null(kind) => write!(f, "Null({kind:?})"),
            Self::Boolean(_) => f.write_str("Boolean"),
            Self::Integer(_) => f.write_str("Integer"),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::OutOfRange => f.write_str("OutOfRange"),
        }
    }
}

/// What a column can take: what may stand in [`params!`](crate::params).
pub trait ToColumn {
    /// The kind of column that takes it.
    const KIND: Kind;

    /// The value to bind.
    fn to_column(&self) -> Value;
}

/// What a column can give: a field of a struct of [`from_row!`](crate::from_row).
pub trait FromColumn: Sized {
    /// The stored value, or `None` when it is not one of this type.
    fn from_column(value: &Value) -> Option<Self>;
}

impl<T: ToColumn + ?Sized> ToColumn for &T {
    const KIND: Kind = T::KIND;

    fn to_column(&self) -> Value {
        (**self).to_column()
    }
}

impl<T: ToColumn> ToColumn for Option<T> {
    const KIND: Kind = T::KIND;

    fn to_column(&self) -> Value {
        self.as_ref().map_or(Value::Null(T::KIND), T::to_column)
    }
}

impl<T: FromColumn> FromColumn for Option<T> {
    fn from_column(value: &Value) -> Option<Self> {
        match value {
            Value::Null(_) => Some(None),
            present => T::from_column(present).map(Some),
        }
    }
}

impl ToColumn for bool {
    const KIND: Kind = Kind::Boolean;

    fn to_column(&self) -> Value {
        Value::Boolean(*self)
    }
}

impl FromColumn for bool {
    fn from_column(value: &Value) -> Option<Self> {
        match value {
            Value::Boolean(value) => Some(*value),
            // SQLite has no booleans of its own.
            Value::Integer(0) => Some(false),
            Value::Integer(1) => Some(true),
            _ => None,
        }
    }
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl ToColumn for $type {
            const KIND: Kind = Kind::Integer;

            fn to_column(&self) -> Value {
                i64::try_from(*self).map_or(Value::OutOfRange, Value::Integer)
            }
        }

        impl FromColumn for $type {
            fn from_column(value: &Value) -> Option<Self> {
                match value {
                    Value::Integer(value) => Self::try_from(*value).ok(),
                    _ => None,
                }
            }
        }
    )*};
}

integers!(u8, u16, u32, u64, usize, i32, i64);

macro_rules! written {
    ($([$($generics:tt)*] $type:ty, $kind:ident, $convert:ident;)*) => {$(
        impl<$($generics)*> ToColumn for $type {
            const KIND: Kind = Kind::$kind;

            fn to_column(&self) -> Value {
                Value::$kind(self.$convert())
            }
        }
    )*};
}

written! {
    [] str, Text, to_owned;
    [] String, Text, clone;
    [] [u8], Bytes, to_vec;
    [] Vec<u8>, Bytes, clone;
    [const N: usize] [u8; N], Bytes, to_vec;
}

impl FromColumn for String {
    fn from_column(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }
}

impl FromColumn for Vec<u8> {
    fn from_column(value: &Value) -> Option<Self> {
        match value {
            Value::Bytes(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }
}

impl<const N: usize> FromColumn for [u8; N] {
    fn from_column(value: &Value) -> Option<Self> {
        match value {
            Value::Bytes(bytes) => bytes.as_slice().try_into().ok(),
            _ => None,
        }
    }
}

/// Lets columns hold a newtype around something they hold: `wrapped!(Height, u64);`
#[macro_export]
macro_rules! wrapped {
    ($($type:path, $inner:ty);* $(;)?) => {$(
        impl $crate::table::ToColumn for $type {
            const KIND: $crate::table::Kind = <$inner as $crate::table::ToColumn>::KIND;

            fn to_column(&self) -> $crate::table::Value {
                $crate::table::ToColumn::to_column(&self.0)
            }
        }

        impl $crate::table::FromColumn for $type {
            fn from_column(value: &$crate::table::Value) -> Option<Self> {
                <$inner as $crate::table::FromColumn>::from_column(value).map($type)
            }
        }
    )*};
}

wrapped! {
    Digest, [u8; 32];
    TimestampMs, u64;
    ids::ConsortiumId, [u8; 16];
    ids::OrganisationId, [u8; 16];
    ids::PrincipalId, [u8; 16];
    ids::PatientAlias, [u8; 16];
    ids::RecordId, [u8; 16];
    ids::BatchId, [u8; 16];
    ids::AccessId, [u8; 16];
    ids::ConsultationId, [u8; 16];
    ids::ProposalId, [u8; 16];
    ids::JobId, [u8; 16];
}

/// The values of `$1`, `$2`, … of a statement: `params![id, name, now]`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        [$($crate::table::ToColumn::to_column(&$value)),*]
    };
}

/// One row of an answer. `Debug` shows no content.
#[derive(Debug)]
pub struct Row {
    pub(super) columns: Arc<[String]>,
    pub(super) values: Vec<Value>,
}

impl Row {
    /// The column called `name`.
    ///
    /// # Errors
    /// [`Error::Bug`] when there is no such column or it holds another type.
    pub fn get<T: FromColumn>(&self, name: &str) -> Result<T> {
        let index = self.columns.iter().position(|column| column == name);
        self.at(index.ok_or_else(|| bug(name, "there is no such column in the answer"))?)
    }

    /// The column at position `index`, from 0.
    ///
    /// # Errors
    /// [`Error::Bug`] when there is no such column or it holds another type.
    pub fn at<T: FromColumn>(&self, index: usize) -> Result<T> {
        let name = || self.columns.get(index).map_or("column", String::as_str);
        let value = self.values.get(index);
        let value = value.ok_or_else(|| bug(name(), "there are fewer columns in the answer"))?;
        T::from_column(value).ok_or_else(|| {
            let expected = core::any::type_name::<T>();
            bug(name(), &format!("{value:?} is not a value of {expected}"))
        })
    }
}

fn bug(column: &str, detail: &str) -> Error {
    Error::Bug {
        what: column.to_owned(),
        detail: detail.to_owned(),
    }
}

/// A type that one row of an answer becomes. Tuples take the columns in order;
/// [`from_row!`](crate::from_row) makes a struct take them by name.
pub trait FromRow: Sized {
    /// Reads the row.
    ///
    /// # Errors
    /// [`Error::Bug`] when a column is missing or holds another type.
    fn from_row(row: &Row) -> Result<Self>;
}

macro_rules! tuples {
    ($(($($type:ident $index:literal),+))*) => {$(
        impl<$($type: FromColumn),+> FromRow for ($($type,)+) {
            fn from_row(row: &Row) -> Result<Self> {
                Ok(($(row.at::<$type>($index)?,)+))
            }
        }
    )*};
}

tuples! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
}

/// Makes a struct of [`FromColumn`] fields readable from a row, by column name:
/// `from_row!(Account { id, name, created_at });`
#[macro_export]
macro_rules! from_row {
    ($type:ident { $($field:ident),+ $(,)? }) => {
        impl $crate::table::FromRow for $type {
            fn from_row(row: &$crate::table::Row) -> $crate::Result<Self> {
                Ok(Self { $($field: row.get(stringify!($field))?),+ })
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_no_column_holds_are_out_of_range() {
        assert_eq!(u64::MAX.to_column(), Value::OutOfRange);
        assert_eq!(TimestampMs(5).to_column(), Value::Integer(5));
        assert_eq!(u64::from_column(&Value::Integer(-1)), None);
        assert_eq!(u32::from_column(&Value::Integer(1 << 40)), None);
    }

    #[test]
    fn bytes_of_the_wrong_length_are_not_an_id_or_a_digest() {
        assert_eq!(Digest::from_column(&Value::Bytes(vec![0; 31])), None);
        assert_eq!(
            ids::RecordId::from_column(&Value::Bytes(vec![1; 16])),
            Some(ids::RecordId([1; 16]))
        );
    }

    #[test]
    fn debug_shows_no_content() {
        let values = params!["Mrs Smith", b"secret", 42_u32];
        let shown = format!("{values:?}");
        assert_eq!(shown, "[Text(9 bytes), Bytes(6), Integer]");
    }
}
