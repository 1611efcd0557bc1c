"""What a run under Tune needs beside its algorithm: to be stopped, saved in time, and heard of."""
