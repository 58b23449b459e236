"""The main job: will a flight from New York arrive 15 minutes late or more?"""
