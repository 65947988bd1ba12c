"""What several tests share: toy bundles, small nets, files and steps made by hand."""
