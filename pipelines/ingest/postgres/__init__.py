"""An events table of another PostgreSQL becomes streams here: read as a source, converted, imported; rows that come too late set aside."""
