"""The workshop around the lessons: environment, runner, offline pages, tables. Nothing teaches."""
