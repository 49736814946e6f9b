"""Configuration: options, presets, layers, validation."""
