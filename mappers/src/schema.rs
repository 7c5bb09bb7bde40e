//! What editors know of `[mapping]`: the JSON schema of every strategy's keys.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::plan::Mapper;

/// `[mapping]` of an experiment: the keys of one of the strategies, which `strategy` names where a machine has several.
#[derive(Debug)]
pub struct Mapping;

impl JsonSchema for Mapping {
    fn schema_name() -> Cow<'static, str> {
        "Mapping".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let strategies: Vec<Schema> = crate::mappers().iter().map(|m| strategy(*m, generator)).collect();
        json_schema!({
            "type": "object",
            "description": "How the model is mapped to the machine: a strategy and its keys.",
            "anyOf": strategies,
        })
    }
}

/// The keys of a strategy, and no others.
fn strategy(mapper: &dyn Mapper, generator: &mut SchemaGenerator) -> Schema {
    let mut table = mapper.schema(generator);
    let properties = table.ensure_object().entry("properties").or_insert_with(|| json_schema!({}).to_value());
    if let Some(properties) = properties.as_object_mut() {
        let name = json_schema!({
            "const": mapper.name(),
            "description": "The strategy; the first that maps to the machine where absent.",
        });
        properties.insert("strategy".to_owned(), name.to_value());
    }
    table.insert("title".to_owned(), mapper.name().into());
    table.insert("description".to_owned(), mapper.description().into());
    table.insert("additionalProperties".to_owned(), false.into());
    table
}
