//! Tests of the SQL stage.
