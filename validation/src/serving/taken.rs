//! Who took a row, and what that says of the cache's type.

use banksia_workloads::DataType;

use crate::rows::Row;

/// Who took a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// aiconfigurator.
    Aiconfigurator,
    /// InferenceMAX.
    InferenceMax,
}

impl Taken {
    pub(super) fn of(row: &Row) -> Self {
        let source = row.get("silicon_data_source").map_or("", String::as_str);
        let theirs = source.starts_with("db-dump") || source.contains("model=");
        if theirs { Self::InferenceMax } else { Self::Aiconfigurator }
    }

    /// Type of keys and values of a model whose weights are in eight bits: TensorRT-LLM follows the checkpoint, whose cache is in eight bits too, and
    /// InferenceMAX asks for that; else it is the model's own.
    pub(super) fn cache(self, framework: &str, own: DataType) -> DataType {
        if self == Self::InferenceMax || framework == "trtllm" { DataType::Fp8 } else { own }
    }
}
