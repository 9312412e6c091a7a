"""The project's own results on the real images: `runs` holds what its runs left, `README.md` says what they mean."""
