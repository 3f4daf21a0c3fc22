"""Everything that tests this project, and the rig the demo runs on."""
