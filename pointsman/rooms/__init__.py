"""Behind the room client: its typed results, its handlers, and the two ways to a room."""
