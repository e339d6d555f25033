"""JSON values: order and equality, keys as bytes that sort alike, paths into records, projections."""
