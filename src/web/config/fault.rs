//! Errors in fields of the web configuration.

/// A fault in the value of one field.
#[derive(Debug)]
pub struct Fault {
    /// The line, counted from 1.
    pub line: u64,
    /// The field's path.
    pub field: String,
    /// One line of text, without secrets.
    pub problem: String,
}
