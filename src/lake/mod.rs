//! What reads or rewrites the lake.
