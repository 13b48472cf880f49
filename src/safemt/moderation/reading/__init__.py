"""From messages and pictures to text that can be scored."""
