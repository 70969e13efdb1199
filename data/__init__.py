"""What a recording is: actions, video, contractor files, label tables, windows. Imports no other room of the house."""
