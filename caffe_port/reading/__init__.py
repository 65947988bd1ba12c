"""From prototxt text to a net: syntax, generations, rules, and what is left out."""
