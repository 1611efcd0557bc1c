"""What a run needs beside its algorithm, here or under Tune: to be stopped, saved, heard of."""
