"""From files, requests and pictures to text that can be scored."""
