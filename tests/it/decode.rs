//! Records that are odd or wrong, through the decoder and into the dead letters.
