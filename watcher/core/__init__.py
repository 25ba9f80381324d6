"""Pure core: no input or output, no clock, no thread."""
