from vpt_pipeline.waiting_threads import threads_wait_asleep

threads_wait_asleep()
