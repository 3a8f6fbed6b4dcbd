"""`tidemill backtest`: recorded windows once more, under other settings, offline."""
