"""What a recording is: actions, video, contractor files, label tables. Imports no other room of the house."""
