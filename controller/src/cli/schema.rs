//! `tidegate schema`: the JSON Schema of a document.

use clap::Args;

use super::error::CommandError;
use super::terminal::Terminal;
use crate::schema::{Document, text_of};

/// Print the JSON Schema of a document, for editors
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate schema fleet > fleet.schema.json   then, as the first line of tidegate.yaml:
                                              # yaml-language-server: $schema=fleet.schema.json")]
pub struct SchemaArgs {
    /// The document
    #[arg(value_enum, value_name = "DOCUMENT")]
    document: Document,
}

/// Runs `tidegate schema`.
pub fn run(arguments: &SchemaArgs, terminal: &Terminal) -> Result<(), CommandError> {
    terminal.data(&text_of(arguments.document))
}
