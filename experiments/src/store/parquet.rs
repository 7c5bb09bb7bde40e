//! A store's points as Parquet, for data frames of 10^5 rows and more.

use std::path::Path;
use std::sync::Arc;

use parquet::basic::{ConvertedType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{Type, TypePtr};
use rusqlite::types::Value;

use super::export::text;
use super::front::number;
use super::read::Points;
use crate::error::Error;

/// Rows of a group.
const GROUP: usize = 1 << 16;

impl Points {
    /// Writes the rows as Parquet: a column of whole numbers, of numbers or of texts each, with nulls. The file is whole or not there.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_parquet(&self, path: &Path) -> Result<(), Error> {
        let bytes = self.parquet().map_err(|e| Error::Failed(format!("{}: {e}", path.display())))?;
        Ok(banksia_reports::write_atomically(path, &bytes)?)
    }

    /// What the values of a column are.
    fn physical(&self, column: usize) -> Physical {
        let values = || self.rows.iter().map(|r| &r[column]);
        if values().any(|v| matches!(v, Value::Text(_) | Value::Blob(_))) {
            Physical::BYTE_ARRAY
        } else if values().any(|v| matches!(v, Value::Real(_))) {
            Physical::DOUBLE
        } else {
            Physical::INT64
        }
    }

    fn parquet(&self) -> Result<Vec<u8>, ParquetError> {
        let kinds: Vec<Physical> = (0..self.columns.len()).map(|c| self.physical(c)).collect();
        let field = |(i, (name, _)): (usize, &(String, _))| -> Result<TypePtr, ParquetError> {
            let builder = Type::primitive_type_builder(name, kinds[i]).with_repetition(Repetition::OPTIONAL);
            let is_text = kinds[i] == Physical::BYTE_ARRAY;
            let converted = if is_text { ConvertedType::UTF8 } else { ConvertedType::NONE };
            Ok(Arc::new(builder.with_converted_type(converted).build()?))
        };
        let fields = self.columns.iter().enumerate().map(field).collect::<Result<Vec<_>, _>>()?;
        let schema = Arc::new(Type::group_type_builder("points").with_fields(fields).build()?);
        let properties = WriterProperties::builder().set_created_by("banksia".to_owned()).build();
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?;
        for rows in self.rows.chunks(GROUP) {
            let mut group = writer.next_row_group()?;
            for (c, kind) in kinds.iter().enumerate() {
                let Some(mut column) = group.next_column()? else { break };
                let present: Vec<i16> = rows.iter().map(|r| i16::from(r[c] != Value::Null)).collect();
                let values = rows.iter().map(|r| &r[c]).filter(|v| **v != Value::Null);
                match kind {
                    Physical::BYTE_ARRAY => {
                        let all: Vec<ByteArray> = values.map(|v| ByteArray::from(text(v).as_str())).collect();
                        column.typed::<ByteArrayType>().write_batch(&all, Some(&present), None)?;
                    }
                    Physical::DOUBLE => {
                        let all: Vec<f64> = values.map(|v| number(v).unwrap_or(f64::NAN)).collect();
                        column.typed::<DoubleType>().write_batch(&all, Some(&present), None)?;
                    }
                    _ => {
                        let whole = |v: &Value| if let Value::Integer(i) = v { *i } else { 0 };
                        let all: Vec<i64> = values.map(whole).collect();
                        column.typed::<Int64Type>().write_batch(&all, Some(&present), None)?;
                    }
                }
                column.close()?;
            }
            group.close()?;
        }
        writer.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;

    #[test]
    fn what_is_written_is_read_again() {
        let columns = ["name", "channels", "latency_s"].map(|n| (n.to_owned(), None)).to_vec();
        let row = |name: &str, n: i64, x: Value| vec![Value::Text(name.into()), Value::Integer(n), x];
        let rows = vec![row("a", 8, Value::Real(0.25)), row("b, \u{e9}", 16, Value::Null)];
        let bytes = Points { columns, rows }.parquet().unwrap_or_default();
        let folder = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let path = folder.path().join("x.parquet");
        std::fs::write(&path, bytes).unwrap_or_else(|e| panic!("{e}"));
        let reader = std::fs::File::open(&path).map(SerializedFileReader::new).unwrap_or_else(|e| panic!("{e}"));
        let reader = reader.unwrap_or_else(|e| panic!("{e}"));
        let all: Vec<Vec<Field>> = reader
            .get_row_iter(None)
            .unwrap_or_else(|e| panic!("{e}"))
            .map(|r| r.unwrap_or_else(|e| panic!("{e}")).get_column_iter().map(|(_, f)| f.clone()).collect())
            .collect();
        assert_eq!(all[0], [Field::Str("a".into()), Field::Long(8), Field::Double(0.25)]);
        assert_eq!(all[1], [Field::Str("b, \u{e9}".into()), Field::Long(16), Field::Null]);
    }
}
