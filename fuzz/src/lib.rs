//! Shared set-up of the fuzz targets.
