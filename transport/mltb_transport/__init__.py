"""What crosses a wire: messages, frames, keys and the buses that carry them."""
