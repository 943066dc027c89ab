"""What kills leave behind: ``killed_at`` makes exact ones, ``aftermath`` says what must hold then."""
