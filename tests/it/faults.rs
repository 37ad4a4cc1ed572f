//! What the outside does: full disks, closed folders, foreign lakes, two runs at once.
